// What tests want to know of an answer that tus-js-client got.

export const answer = (request, response) => ({
  method: request.getMethod(),
  url: request.getURL(),
  status: response.getStatus(),
  offset: Number(response.getHeader('Upload-Offset') ?? -1),
  location: response.getHeader('Location') ?? null,
  refused: response.getStatus() < 300 ? null : response.getBody(),
})

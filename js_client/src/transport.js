// One request, with what fetch can't tell: how much of its body has been sent. Another one has the same shape.

/** Resolves to { status, header(name), text }; status 0 if no answer came. Never rejects. */
export const xhr = ({ method, url, headers, body, signal, onProgress }) =>
  new Promise((resolve) => {
    const wire = new XMLHttpRequest()
    const done = () =>
      resolve({ status: wire.status, header: (name) => wire.getResponseHeader(name), text: wire.responseText })
    const lost = () => resolve({ status: 0, why: 'The connection is lost.' })
    wire.open(method, url)
    for (const [name, value] of Object.entries(headers)) wire.setRequestHeader(name, value)
    wire.upload.onprogress = ({ loaded }) => onProgress?.(loaded)
    wire.onload = done
    wire.onerror = lost
    wire.onabort = lost
    signal?.addEventListener('abort', () => wire.abort())
    wire.send(body ?? null)
  })

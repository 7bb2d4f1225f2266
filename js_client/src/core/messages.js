// The native protocol as this client speaks it: what is asked becomes requests, what comes back becomes answers. Pure.

const PREFIX = 'urn:problem-type:resumable-glance:'

const json = (text) => {
  try {
    return JSON.parse(text)
  } catch {
    return null
  }
}

/** What the last whole event of a stream tells, as far as the stream has come; null if none has. */
export const lastEvent = (text) => json(text.match(/[^]*^event: upload\r?\ndata: (.*)\r?\n\r?\n/m)?.[1])

const seconds = (text) => (/^\d+$/.test(text ?? '') ? Number(text) : 0)

/** An answer from what came: `status` 0 where nothing did. `header` gives a field or null. */
export const answer = ({ status, header = () => null, text = '', why = '' }) => {
  const document = json(text)
  const type = document?.type
  return {
    status,
    // The service's own word; null if a proxy spoke, or nobody.
    reason: typeof type === 'string' && type.startsWith(PREFIX) ? type.slice(PREFIX.length) : null,
    detail: (status >= 400 && document?.detail) || why,
    limit: document?.limit ?? null,
    retryAfter: seconds(header('retry-after')) || document?.retry_after || 0,
    requestId: header('x-openstack-request-id') ?? document?.request_id ?? null,
    state: header('upload-state'),
    location: header('location'),
    document,
  }
}

/** The request that carries an effect of the plan. `body` of a chunk is a pair of positions in the file. */
export const request = (effect, { uploads, url, description, key, zeros, token, ticket }) => {
  const owner = token ? { 'X-Auth-Token': token } : {}
  const bearer = ticket ? { Authorization: `Bearer ${ticket}` } : owner
  switch (effect.do) {
    case 'limits':
      return { method: 'OPTIONS', url: uploads, headers: {} }
    case 'create':
      return {
        method: 'POST',
        url: uploads,
        headers: { ...owner, 'Content-Type': 'application/json', ...(key && { 'Idempotency-Key': `"${key}"` }) },
        body: JSON.stringify(description),
      }
    case 'ask':
      return { method: 'GET', url, headers: bearer }
    case 'receipt':
      return { method: 'GET', url: `${url}/receipt`, headers: bearer }
    case 'watch':
      return { method: 'GET', url: `${url}/events`, headers: bearer }
    case 'renew':
      return { method: 'POST', url: `${url}/ticket`, headers: owner }
    case 'retry':
      return { method: 'POST', url: `${url}/retry`, headers: token ? owner : bearer }
    case 'cancel':
      return { method: 'DELETE', url, headers: bearer }
    default:
      return {
        method: 'PATCH',
        url,
        headers: { ...bearer, ...chunk(effect, zeros) },
        body: !effect.zeros && [effect.start, effect.stop],
      }
  }
}

const chunk = ({ start, stop, size, md5, zeros: empty, whole }, zeros) => ({
  'Content-Type': empty ? zeros : 'application/octet-stream',
  'Content-Range': `bytes ${start}-${stop - 1}/${size}`,
  ...(md5 && { 'Content-MD5': md5 }),
  ...(whole && { 'Repr-Digest': `md5=:${whole}:` }),
})

// One request, with what fetch can't tell: how much of its body has been sent. `onText` hears all of an answer that has
// come so far. Another transport has the same shape.

/** Resolves to { status, header(name), text }; status 0 if no answer came. Never rejects. */
export const xhr = ({ method, url, headers, body, signal, onProgress, onText }) =>
  new Promise((resolve) => {
    const wire = new XMLHttpRequest()
    const done = () =>
      resolve({ status: wire.status, header: (name) => wire.getResponseHeader(name), text: wire.responseText })
    const lost = () => resolve({ status: 0, why: 'The connection is lost.' })
    wire.open(method, url)
    for (const [name, value] of Object.entries(headers)) wire.setRequestHeader(name, value)
    wire.upload.onprogress = ({ loaded }) => onProgress?.(loaded)
    wire.onprogress = () => onText?.(wire.responseText)
    wire.onload = done
    wire.onerror = lost
    wire.onabort = lost
    signal?.addEventListener('abort', () => wire.abort())
    wire.send(body ?? null)
  })

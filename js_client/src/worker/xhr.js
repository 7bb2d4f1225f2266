// The transport: one request by XMLHttpRequest, because fetch does not report how much of a body has been sent.

import { SENTENCES } from '../core/vocabulary.js'

/**
 * @typedef {object} TransportRequest
 * @property {string} method
 * @property {string} url
 * @property {Record<string, string>} headers
 * @property {Blob | string} [body]
 * @property {AbortSignal} signal
 * @property {(bytes: number) => void} [onProgress]  called with the bytes of the body that have been sent
 * @property {(text: string) => void} [onText]  called with each part of the response's body as it arrives
 */

/**
 * Resolve to the response, with status 0 if none came; never reject.
 * @param {TransportRequest} request
 * @returns {Promise<import('../core/messages.js').Response>}
 */
export const xhr = ({ method, url, headers, body, signal, onProgress, onText }) =>
  new Promise((resolve) => {
    const request = new XMLHttpRequest()
    let read = 0 // characters
    const lost = () => resolve({ status: 0, why: SENTENCES.connectionLost })
    request.open(method, url)
    for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value)
    request.upload.onprogress = ({ loaded }) => onProgress?.(loaded)
    request.onprogress = () => {
      const text = request.responseText
      onText?.(text.slice(read))
      read = text.length
    }
    request.onload = () => {
      const header = (/** @type {string} */ name) => request.getResponseHeader(name)
      resolve({ status: request.status, header, text: request.responseText })
    }
    request.onerror = lost
    request.onabort = lost
    signal.addEventListener('abort', () => request.abort())
    request.send(body ?? null)
  })

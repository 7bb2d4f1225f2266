// The native protocol (docs/native-protocol.md): effects become requests, responses become answers. Pure.

import { SENTENCES } from './vocabulary.js'

const PROBLEM_PREFIX = 'urn:problem-type:resumable-glance:'

/**
 * The response to a request, read.
 * @typedef {object} Answer
 * @property {number} status  0 if no response came
 * @property {string | null} reason  of a problem document of the service; null if a proxy answered
 * @property {string} detail  for people; empty unless something went wrong
 * @property {number | null} limit  bytes, where a limit was exceeded
 * @property {number} retryAfter  seconds; 0 if not given
 * @property {string | null} requestId
 * @property {string | null} location  absolute, of the upload; null if the answer names none, or one elsewhere
 * @property {boolean} isElsewhere  whether the upload is at another origin than the service, where no credentials go
 * @property {Document | null} document
 *
 * The JSON body of an answer: an upload, capabilities, a ticket, a receipt or a problem.
 * @typedef {Record<string, any>} Document
 *
 * What a transport resolves to; `status` is 0 if no response came.
 * @typedef {{ status: number, header?: (name: string) => string | null, text?: string, why?: string }} Response
 *
 * @typedef {{ token: string | null, ticket: string | null }} Credentials
 *
 * `body` is text, or the [start, stop] of a part of the file.
 * @typedef {{ method: string, url: string, headers: Record<string, string>, body?: string | [number, number] }} Request
 */

/** @param {string} text @returns {any} */
const parseJson = (text) => {
  try {
    return JSON.parse(text)
  } catch {
    return null
  }
}

/**
 * Return the upload that a server-sent event describes, or null for another event.
 * @param {{ event?: string, data: string }} event
 * @returns {Document | null}
 */
export const readEvent = ({ event, data }) => (event === 'upload' ? parseJson(data) : null)

/** @param {string | null} text */
const parseSeconds = (text) => (/^\d+$/.test(text ?? '') ? Number(text) : 0)

/**
 * The absolute form of an address, or null where there is none.
 * @param {string | null | undefined} address
 * @param {string} base
 */
const resolved = (address, base) => {
  try {
    return address ? new URL(address, base) : null
  } catch {
    return null
  }
}

/**
 * @param {Response} response
 * @param {string} [uploads]  URL of the collection, if the response may name an upload
 * @returns {Answer}
 */
export const readAnswer = ({ status, header = () => null, text = '', why = '' }, uploads = '') => {
  const document = parseJson(text)
  const type = document?.type
  const named = resolved(header('location') ?? document?.href, uploads)
  const isElsewhere = !!named && named.origin !== resolved(uploads, uploads)?.origin
  return {
    status,
    reason: typeof type === 'string' && type.startsWith(PROBLEM_PREFIX) ? type.slice(PROBLEM_PREFIX.length) : null,
    detail: (status >= 400 && document?.detail) || why || (status ? '' : SENTENCES.noAnswer),
    limit: document?.limit ?? null,
    retryAfter: parseSeconds(header('retry-after')) || document?.retry_after || 0,
    requestId: header('x-openstack-request-id') ?? document?.request_id ?? null,
    location: named && !isElsewhere ? named.href : null,
    isElsewhere,
    document,
  }
}

/**
 * The error because of which the service waits or has failed to make an image of an upload.
 * @param {Document} document
 * @returns {{ reason: string | null, detail: string } | null}
 */
export const handoffError = ({ handoff }) => handoff?.last_error ?? null

/**
 * Return the request that carries out an effect of the plan.
 * @param {import('./plan.js').Effect} effect
 * @param {Partial<Credentials> & {
 *   uploads: string, url?: string | null, description?: object, key?: string, zerosType?: string | null }} context
 *   `uploads` is the URL of the collection, `url` that of this upload, `key` an idempotency key.
 * @returns {Request}
 */
export const makeRequest = (effect, { uploads, url, description, key, zerosType, token, ticket }) => {
  /** @type {Record<string, string>} */
  const owner = token ? { 'X-Auth-Token': token } : {}
  /** @type {Record<string, string>} */
  const bearer = ticket ? { Authorization: `Bearer ${ticket}` } : owner
  const upload = String(url)
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
    case 'get':
      return { method: 'GET', url: upload, headers: bearer }
    case 'receipt':
      return { method: 'GET', url: `${upload}/receipt`, headers: bearer }
    case 'watch':
      return { method: 'GET', url: `${upload}/events`, headers: bearer }
    case 'renew':
      return { method: 'POST', url: `${upload}/ticket`, headers: owner }
    case 'retry':
      return { method: 'POST', url: `${upload}/retry`, headers: token ? owner : bearer }
    case 'cancel':
      return { method: 'DELETE', url: upload, headers: bearer }
    case 'send':
      return {
        method: 'PATCH',
        url: upload,
        headers: { ...bearer, ...chunkHeaders(effect, zerosType) },
        ...(!effect.zeros && { body: [effect.start, effect.stop] }),
      }
    default:
      throw new TypeError(`The effect ${effect.do} is no request.`)
  }
}

/**
 * @param {import('./plan.js').SendEffect} effect
 * @param {string | null} [zerosType]
 * @returns {Record<string, string>}
 */
const chunkHeaders = ({ start, stop, size, md5, zeros, fileMd5 }, zerosType) => ({
  'Content-Type': zeros && zerosType ? zerosType : 'application/octet-stream',
  'Content-Range': `bytes ${start}-${stop - 1}/${size}`,
  ...(md5 && { 'Content-MD5': md5 }),
  ...(fileMd5 && { 'Repr-Digest': `md5=:${fileMd5}:` }),
})

/** @param {string} base64 */
export const base64ToHex = (base64) =>
  Array.from(atob(base64), (each) => each.charCodeAt(0).toString(16).padStart(2, '0')).join('')

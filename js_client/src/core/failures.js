// Classification of answers: what to do about each, and the failure that a final one amounts to. Pure.

import { handoffError } from './messages.js'

/**
 * @typedef {import('./vocabulary.js').Code} Code
 * @typedef {import('./vocabulary.js').Failure} Failure
 */

export const MAX_DELAY = 15 // seconds between two attempts
const MAX_RETRY_AFTER = 300 // seconds; a longer Retry-After is not believed
const RETRIED_STATUSES = [408, 425, 429]
const RETRIED_REASONS = ['chunk-digest-mismatch', 'superseded', 'disconnected', 'body-too-short']

/**
 * Decide what to do about an answer.
 *
 * `get` means to look at the upload again, `renew` to renew the ticket, `shrink` to send smaller chunks.
 * @param {Pick<import('./messages.js').Answer, 'status' | 'reason'>} answer
 * @returns {'ok' | 'get' | 'renew' | 'retry' | 'shrink' | 'gone' | 'fail'}
 */
export const classify = ({ status, reason }) => {
  if (status >= 200 && status < 300) return 'ok'
  if (reason === 'upload-sealed') return 'get'
  if (status === 401) return 'renew'
  if (!status || (status >= 500 && status !== 501) || RETRIED_STATUSES.includes(status)) return 'retry'
  if (reason && RETRIED_REASONS.includes(reason)) return 'retry'
  if (reason === 'chunk-too-large' || (status === 413 && !reason)) return 'shrink'
  return status === 404 || status === 410 ? 'gone' : 'fail'
}

/**
 * Seconds to wait after so many failures in a row: exponential with jitter, or Retry-After if that is longer.
 * @param {number} failures
 * @param {number} retryAfter  seconds
 * @param {number} random  from 0 to 1
 */
export const delayAfter = (failures, retryAfter, random) => {
  const longest = Math.min(MAX_DELAY, 2 ** Math.min(failures - 2, 9))
  return Math.max(longest * (0.5 + random / 2), Math.min(retryAfter, MAX_RETRY_AFTER))
}

/** @type {Record<string, Code | undefined>} */
const CODES = {
  forbidden: 'forbidden',
  'over-quota': 'too-large',
  'upload-too-large': 'too-large',
  'unknown-upload': 'gone',
  'upload-cancelled': 'gone',
  'upload-expired': 'gone',
  'upload-lost': 'gone',
  'different-bytes': 'file-changed',
  'wrong-digest': 'file-changed',
  'wrong-total': 'file-changed',
  'chunk-digest-mismatch': 'damaged',
  401: 'unauthenticated',
  403: 'forbidden',
  404: 'gone',
  410: 'gone',
}

/** The service refuses the content: format-mismatch, unsafe-image, disk-too-large. */
const CONTENT_REASON = /^(format|unsafe|disk)-/

/**
 * The failure of an upload whose image could not be made.
 * @param {import('./messages.js').Document} document
 * @returns {Failure}
 */
export const handoffFailure = (document) => {
  const { reason = null, detail = '' } = handoffError(document) ?? {}
  return { code: reason && CONTENT_REASON.test(reason) ? 'refused' : 'undelivered', message: detail, reason }
}

/**
 * The failure that an answer amounts to.
 * @param {import('./messages.js').Answer} answer
 * @param {Code} [code]  where the answer alone does not tell
 * @returns {Failure}
 */
export const failureOf = ({ status, reason, detail, requestId }, code) => ({
  code: code ?? CODES[reason ?? ''] ?? CODES[status] ?? 'refused',
  message: detail || `The answer was ${status}.`,
  status,
  reason,
  requestId,
})

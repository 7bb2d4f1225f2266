// The identity of the user: several people may use a browser one after the other, and each continues only their own
// uploads.

import { clock } from '../core/clock.js'
import { classify, delayAfter, failureOf } from '../core/failures.js'
import { readAnswer } from '../core/messages.js'

/** @typedef {import('./types.js').Options} Options */

const TIMEOUT = 30e3 // milliseconds

/** The base URL of the service, without a slash at its end. @param {string | undefined} endpoint */
export const baseUrl = (endpoint) => new URL(endpoint ?? '/', globalThis.location?.href).href.replace(/\/+$/, '')

/**
 * Resolve to the identity that uploads with these options are remembered for, which the service tells if the page does
 * not. Reject with a failure that waiting cannot solve.
 * @param {Options} options
 * @param {(why: string) => void} [onWait]  called before each further attempt
 * @returns {Promise<string>}
 */
export const identify = async ({ identity, endpoint, token, url, ticket }, onWait = () => {}) => {
  if (identity) return valueOf(identity)
  if (url && ticket && !token) return url // a ticket is for one upload, whoever has it
  let current = await valueOf(token)
  let renewed = false
  for (let failures = 1; ; failures += 1) {
    const answer = await ask(`${baseUrl(endpoint)}/v1/identity`, current)
    const kind = classify(answer)
    if (kind === 'ok' && typeof answer.document?.identity === 'string') return answer.document.identity
    if (kind === 'renew' && !renewed) {
      const before = current
      current = await valueOf(token)
      renewed = true
      if (current !== before) continue
    }
    if (kind !== 'ok' && kind !== 'retry') throw failureOf(answer, kind === 'gone' ? 'refused' : undefined)
    onWait(answer.detail)
    await waited(delayAfter(failures, answer.retryAfter, clock.random()))
  }
}

/**
 * What the page gave, or gives when asked.
 * @template {string | undefined} T
 * @param {T | (() => T | Promise<T>)} given
 */
const valueOf = async (given) => {
  try {
    return typeof given === 'function' ? await given() : given
  } catch (error) {
    throw { code: 'unauthenticated', message: String(/** @type {any} */ (error)?.message ?? error) }
  }
}

/** @param {string} url @param {string | undefined} token */
const ask = async (url, token) => {
  /** @type {Record<string, string>} */
  const headers = token ? { 'X-Auth-Token': token } : {}
  try {
    // A redirect would take the token to another place.
    const response = await fetch(url, { headers, redirect: 'error', signal: AbortSignal.timeout?.(TIMEOUT) })
    return readAnswer({
      status: response.status,
      header: (name) => response.headers.get(name),
      text: await response.text(),
    })
  } catch {
    return readAnswer({ status: 0 })
  }
}

/** Wait, at most until the browser is online again. @param {number} seconds */
const waited = (seconds) =>
  new Promise((resolve) => {
    clock.after(seconds, () => resolve(null))
    globalThis.addEventListener?.('online', resolve, { once: true })
  })

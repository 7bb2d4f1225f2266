// One upload, driven by messages: createEngine(post, environment) returns a function that receives them.

import { CredentialStore } from '../core/credentials.js'
import { base64ToHex } from '../core/messages.js'
import { begin } from '../core/plan.js'
import { rateMeter } from '../core/rate.js'
import { SENTENCES } from '../core/vocabulary.js'
import { durableBytes, fractionOf, isUnsafe } from '../core/status.js'
import { EffectRunner } from './effects.js'
import { HashQueue } from './hash_queue.js'

/**
 * @typedef {import('../core/plan.js').State} State
 * @typedef {import('../core/worker_protocol.js').ToWorker} ToWorker
 * @typedef {import('../core/worker_protocol.js').ToPage} ToPage
 * @typedef {import('../core/worker_protocol.js').Settings} Settings
 *
 * @typedef {Pick<import('./effects.js').Context, 'clock' | 'transport'>
 *   & { open: typeof import('./chunker.js').Chunker.open }} Environment
 */

const PROGRESS_INTERVAL = 0.1 // seconds

/** @param {(message: ToPage) => void} post @param {Environment} environment */
export const createEngine = (post, { clock, transport, open }) => {
  /** @type {Map<number, { resolve: (value: any) => void, reject: (error: Error) => void }>} */
  const questions = new Map()
  const measureRate = rateMeter()
  /** @type {any} */
  let file
  /** @type {Pick<HashQueue, 'hash'>} */
  let hasher
  /** @type {EffectRunner | undefined} */
  let runner
  /** @type {CredentialStore} */
  let credentials
  let reportedAt = -Infinity
  let maxFraction = 0 // a handoff reads twice, and may begin again, but a progress bar must not go back

  const ask =
    (/** @type {'token' | 'renewTicket'} */ what) =>
    (/** @type {string} */ url = '') =>
      new Promise((resolve, reject) => {
        const id = questions.size
        questions.set(id, { resolve, reject })
        post({ ask: id, what, url })
      })

  const report = (/** @type {{ type: string }} */ event) => {
    if (!runner) return
    const { state } = runner
    const { phase, size, document, lastError, error, url } = state
    const now = clock.now()
    const durable = durableBytes(state)
    const sent = runner.sentBytes(durable)
    const measured = measureRate(runner.transferred, now)
    if (event.type === 'progress' && now - reportedAt < PROGRESS_INTERVAL) return
    reportedAt = now
    maxFraction = Math.max(maxFraction, fractionOf(state, sent))
    const rate = phase === 'uploading' ? measured : 0
    const eta = rate > 0 ? (size - sent) / rate : null
    const progress = { phase, size, durable, sent, fraction: maxFraction, rate, eta, lastError, document }
    post({ progress, error, url, isUnsafe: isUnsafe(state) })
  }

  const record = (/** @type {State} */ state) => ({
    url: state.url,
    ticket: credentials.ticket,
    idempotencyKey: runner?.idempotencyKey,
    durable: durableBytes(state),
    document: state.document,
    receipt: state.receipt,
    md5: state.fileMd5 && base64ToHex(state.fileMd5),
  })

  const listener = {
    onChange: report,
    onSave: (/** @type {State} */ state) => post({ save: record(state) }),
    onForget: () => post({ forget: true }),
    onFinish: (/** @type {State} */ state) => post({ finish: record(state) }),
  }

  /** @type {Record<string, (given: any, message: any) => any>} */
  const RECEIVE = {
    open: async (given) => {
      file = given
      if (given.fingerprint) {
        hasher = { hash: () => Promise.reject({ code: 'file-unreadable', message: SENTENCES.fileNeeded }) }
        return post({ opened: given.fingerprint })
      }
      const queue = new HashQueue(
        await open(file),
        (md5) => runner?.handle({ type: 'file-hashed', md5 }),
        (failure) => runner?.handle({ type: 'hashing-failed', ...failure }),
      )
      hasher = queue
      post({ opened: `${file.size}-${file.lastModified ?? 0}-${await queue.fingerprint()}` })
    },
    begin: (/** @type {Settings} */ settings) => {
      const { url, token, ticket, renewTicket, uploads, description, key, stall = 30, ...options } = settings
      credentials = new CredentialStore({
        ticket,
        token: token === true ? ask('token') : token,
        renewTicket: renewTicket ? ask('renewTicket') : undefined,
      })
      runner = new EffectRunner(begin({ size: file.size, url, ...options }), {
        file,
        uploads,
        description,
        key,
        stall,
        clock,
        transport,
        hasher,
        credentials,
        listener,
      })
    },
    event: (event) => runner?.handle(event),
    reply: (id, { value, error }) => {
      const question = questions.get(id)
      if (error) question?.reject(new Error(error))
      else question?.resolve(value)
    },
  }

  return async (/** @type {ToWorker} */ message) => {
    const [[kind, value]] = Object.entries(message)
    try {
      await RECEIVE[kind](value, message)
    } catch (error) {
      const { code = 'unhashed', message } = /** @type {any} */ (error)
      post({ error: { code, message: String(message ?? error) } })
    }
  }
}

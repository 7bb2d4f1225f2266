// The next step of an upload: plan(state, event) -> [state, effects].
// Pure: no I/O, no clock, no randomness; those come in with the events. States are replaced, never changed.
//
// One rule: a byte counts only when the service has acknowledged it as durable.

import { MAX_DELAY, classify, delayAfter, failureOf, handoffFailure } from './failures.js'
import { base64ToHex, handoffError } from './messages.js'
import { merge, missing } from './ranges.js'
import {
  FIRST_CHUNK,
  MAX_CHUNK,
  MIN_CHUNK,
  adapt,
  dropOversized,
  halfOf,
  joinZeros,
  schedule,
  shrink,
} from './scheduling.js'
import { formatSize } from './size.js'
import { isCancelling, isUnsafe, phaseOf } from './status.js'
import { SENTENCES, isFinal } from './vocabulary.js'

/**
 * @typedef {import('./messages.js').Answer} Answer
 * @typedef {import('./messages.js').Document} Document
 * @typedef {import('./vocabulary.js').Failure} Failure
 * @typedef {import('./scheduling.js').Piece} Piece
 *
 * Effects that are requests, answered by an `answer` event. `get` is of the upload, `watch` of its events.
 * @typedef {'limits' | 'create' | 'get' | 'receipt' | 'watch' | 'renew' | 'retry' | 'cancel'} Call
 *
 * @typedef {{ do: 'send', start: number, stop: number, size: number,
 *   md5?: string, zeros?: boolean, fileMd5?: string | null }} SendEffect
 * @typedef {{ do: 'hash', start: number, stop: number, chunkSize: number, zeros: boolean }} HashEffect
 * @typedef {SendEffect | HashEffect | { do: Call } | { do: 'wait', seconds: number }
 *   | { do: 'abort' | 'save' | 'forget' | 'finish' }} Effect
 *
 * @typedef {{ type: 'start' | 'pause' | 'cancel' | 'wake' }
 *   | { type: 'hashed', start: number, stop: number, pieces: Omit<Piece, 'stage'>[] }
 *   | { type: 'file-hashed', md5: string }
 *   | { type: 'hashing-failed', code: import('./vocabulary.js').Code, message: string }
 *   | { type: 'update', document: Document }
 *   | { type: 'answer', to: Call | 'send', answer: Answer, start?: number, seconds?: number }} Event
 *
 * @typedef {[State, Effect[]]} Step
 *
 * @typedef {object} State
 * @property {import('./vocabulary.js').Phase} phase
 * @property {Call | 'nothing' | 'wait' | 'send'} doing  what is waited for, besides chunks
 * @property {Call | null} afterWait  what follows `wait` and `renew`
 * @property {number} size  bytes of the file
 * @property {string | null} url
 * @property {boolean} recreate  whether an upload that is gone or has failed is replaced by a new one
 * @property {boolean} scanZeros
 * @property {boolean} limitsKnown
 * @property {boolean} confirmed  whether the service has described the upload since begin()
 * @property {import('./ranges.js').Range[]} durable
 * @property {Piece[]} pieces
 * @property {boolean} withinZeros  whether the region hashed last was empty
 * @property {string | null} fileMd5  base64
 * @property {number} chunkSize  bytes
 * @property {number} maxChunkSize  bytes
 * @property {number} parallel  chunks at a time
 * @property {number} maxParallel
 * @property {number} fastChunks  since the last change of the chunk size
 * @property {number} failures  in a row
 * @property {number} mismatches  chunks damaged on their way, in a row
 * @property {number} polls
 * @property {'requested' | 'open' | 'refused' | null} stream  of the upload's events
 * @property {number} generation  of the credentials
 * @property {boolean} renewed  whether the credentials were renewed since a request succeeded
 * @property {string | null} consentGivenFor  the handoff error for which the owner's token was last renewed
 * @property {string | null} zerosType  media type that declares a run of zeros, if the service has one
 * @property {Document | null} document
 * @property {Document | null} receipt
 * @property {string | null} lastError  why it waits, for people
 * @property {Failure | null} error
 */

const MAX_POLL_INTERVAL = 3 // seconds
const IDLE_POLL_INTERVAL = 30 // seconds, while a stream of events is open
const MAX_MISMATCHES = 5

/**
 * The state of an upload of which nothing is known but its size and, perhaps, its URL.
 * @param {object} options
 * @param {number} options.size
 * @param {string | null} [options.url]
 * @param {boolean} [options.recreate]
 * @param {number} [options.maxChunkSize]
 * @param {number} [options.maxParallel]
 * @param {boolean} [options.scanZeros]
 * @returns {State}
 */
export const begin = ({
  size,
  url = null,
  recreate = false,
  maxChunkSize = MAX_CHUNK,
  maxParallel = 4,
  scanZeros = true,
}) => ({
  phase: 'new',
  doing: 'nothing',
  afterWait: null,
  size,
  url,
  recreate,
  scanZeros,
  limitsKnown: false,
  confirmed: false,
  durable: [],
  pieces: [],
  withinZeros: false,
  fileMd5: null,
  chunkSize: Math.min(FIRST_CHUNK, maxChunkSize),
  maxChunkSize,
  parallel: Math.min(2, maxParallel),
  maxParallel,
  fastChunks: 0,
  failures: 0,
  mismatches: 0,
  polls: 0,
  stream: null,
  generation: 0,
  renewed: false,
  consentGivenFor: null,
  zerosType: null,
  document: null,
  receipt: null,
  lastError: null,
  error: null,
})

/**
 * @param {State} state
 * @param {Event & { random?: number }} event  `random` is from 0 to 1
 * @returns {Step}
 */
export const plan = (state, event) => {
  if (isFinal(state.phase) && !ALWAYS_HANDLED.includes(event.type)) return [state, []]
  const [next, effects] = settle(handle(state, event))
  return [{ ...next, phase: phaseOf(next) }, effects]
}

const ALWAYS_HANDLED = ['start', 'cancel', 'file-hashed']

/** @param {State} state @param {Event & { random?: number }} event @returns {Step} */
const handle = (state, event) => {
  switch (event.type) {
    case 'start':
      return start(state)
    case 'pause': // what is safe goes on without us: there is nothing to pause
      return isUnsafe(state) && !isCancelling(state) ? halt({ ...state, phase: 'paused' }) : [state, []]
    case 'cancel':
      return cancel(state)
    case 'wake': // the time is over, or the browser is online again
      return state.doing === 'wait' && state.afterWait ? call(state, state.afterWait) : [state, []]
    case 'hashed':
      return hashed(state, event)
    case 'file-hashed':
      return [{ ...state, fileMd5: event.md5 }, []]
    case 'hashing-failed':
      return fail(state, { code: event.code, message: event.message })
    case 'update':
      return update(state, event.document)
    case 'answer':
      if (event.to === 'send') return chunkAnswered(state, event)
      return event.to === 'watch' ? streamEnded(state, event.answer) : answered(state, event.to, event)
  }
}

/** @param {State} state @returns {Step} */
const start = (state) => {
  if (!['new', 'paused', 'failed'].includes(state.phase)) return [state, []]
  /** @type {State} */
  const started = {
    ...state,
    phase: 'preparing',
    error: null,
    lastError: null,
    failures: 0,
    mismatches: 0,
    renewed: false,
  }
  // All bytes are there: only the handoff is repeated.
  if (state.error?.code === 'undelivered') return call({ ...started, document: null }, 'retry')
  return proceed(started)
}

/** @param {State} state @returns {Step} */
const cancel = (state) => {
  if (state.phase === 'active' || state.phase === 'cancelled') return [state, []]
  const [halted, effects] = halt(state)
  if (!state.url) return [{ ...halted, phase: 'cancelled' }, [...effects, { do: 'forget' }]]
  return call({ ...halted, phase: 'preparing', failures: 0 }, 'cancel', effects)
}

/** @param {State} state @param {Event & { type: 'hashed' }} event @returns {Step} */
const hashed = (state, { start, stop, pieces }) => {
  const region = state.pieces.find((each) => each.stage === 'hashing' && each.start === start && each.stop === stop)
  if (!region) return [state, []]
  const others = state.pieces.filter((each) => each !== region)
  const withinZeros = pieces.length === 1 && !!pieces[0].zeros
  const joined = joinZeros([...others, ...pieces.map((each) => ({ ...each, stage: /** @type {const} */ ('ready') }))])
  return [dropOversized({ ...state, pieces: joined, withinZeros }), []]
}

/**
 * An event of the stream tells what `get` would tell.
 * @param {State} state
 * @param {Document} document
 * @returns {Step}
 */
const update = (state, document) => {
  const isPolling = state.doing === 'get' || (state.doing === 'wait' && state.afterWait === 'get')
  if (!state.stream || !isPolling) return [state, []]
  return learn({ ...state, stream: 'open', failures: 0, lastError: null }, document)
}

// Next steps

/**
 * Do one thing next, after `effects`.
 * @param {State} state
 * @param {Call} doing
 * @param {Effect[]} [effects]
 * @returns {Step}
 */
const call = (state, doing, effects = []) => [{ ...state, doing, afterWait: null }, [...effects, { do: doing }]]

/** @param {State} state @returns {Step} */
const proceed = (state) => {
  if (!state.limitsKnown) return call(state, 'limits')
  return state.url ? call(state, 'get') : create(state)
}

/**
 * Create an upload. Its idempotency key is saved first, so that a repeated creation, also by the next page, makes no
 * second upload.
 * @param {State} state
 * @returns {Step}
 */
const create = (state) => call(state, 'create', [{ do: 'save' }])

/** @param {State} state @returns {Step} */
const recreate = (state) => call({ ...state, url: null, durable: [] }, 'create', [{ do: 'forget' }, { do: 'save' }])

/** @param {State} state @param {number} seconds @param {Call} afterWait @returns {Step} */
const wait = (state, seconds, afterWait) => [{ ...state, doing: 'wait', afterWait }, [{ do: 'wait', seconds }]]

/** @param {State} state @returns {Step} */
const halt = (state) => [
  { ...state, doing: 'nothing', afterWait: null, stream: null, pieces: hashedPieces(state.pieces) },
  [{ do: 'abort' }],
]

/** @param {Piece[]} pieces @returns {Piece[]} */
const hashedPieces = (pieces) =>
  pieces.filter(({ stage }) => stage !== 'hashing').map((each) => ({ ...each, stage: 'ready' }))

/** @param {State} state @param {Failure} error @param {Effect[]} [further] @returns {Step} */
const fail = (state, error, further = []) => {
  const [halted, effects] = halt(state)
  return [{ ...halted, phase: 'failed', error }, [...effects, ...further]]
}

/** @param {State} state @param {Call} afterWait @returns {Step} */
const renew = (state, afterWait) => [{ ...state, doing: 'renew', afterWait }, [{ do: 'renew' }]]

/**
 * Wait, then do `doing` again.
 * @param {State} state
 * @param {Answer} answer
 * @param {number} random
 * @param {Call} doing
 * @returns {Step}
 */
const backOff = (state, answer, random, doing) => {
  const failures = state.failures + 1
  const waiting = { ...state, failures, lastError: answer.detail || `The answer was ${answer.status}.` }
  return wait(waiting, delayAfter(failures, answer.retryAfter, random), doing)
}

// Answers

/**
 * @param {State} state
 * @param {Exclude<Call, 'watch'>} to
 * @param {{ answer: Answer, random?: number }} event
 * @returns {Step}
 */
const answered = (state, to, { answer, random = 0.5 }) => {
  if (state.doing !== to) return [state, []]
  const kind = classify(answer)
  // The image is active with or without a receipt: the service may have none for us.
  if (to === 'receipt') return finish(state, kind === 'ok' ? answer.document : null)
  if (kind === 'ok') return ON_SUCCESS[to]({ ...state, failures: 0, renewed: to === 'renew', lastError: null }, answer)
  if (kind === 'retry') return backOff(state, answer, random, to)
  if (to === 'renew') return fail(state, failureOf(answer, 'unauthenticated'))
  if (to === 'retry' && kind === 'fail') return fail(state, failureOf(answer, 'undelivered'))
  if (to === 'limits') return proceed({ ...state, limitsKnown: true })
  if (kind === 'renew' && !state.renewed) return renew(state, to)
  if (to === 'cancel') return kind === 'gone' ? cancelled(state) : call(state, 'get')
  if (kind === 'gone' && !state.confirmed && state.recreate) return recreate(state)
  if (kind === 'gone') return fail(state, failureOf(answer, answer.reason ? undefined : 'gone'), [{ do: 'forget' }])
  return fail(state, failureOf(answer))
}

/** @param {State} state @param {Document | null} receipt @returns {Step} */
const finish = (state, receipt) => [{ ...state, receipt, doing: 'nothing', phase: 'active' }, [{ do: 'finish' }]]

/** @param {State} state @returns {Step} */
const cancelled = (state) => [{ ...state, doing: 'nothing', phase: 'cancelled' }, [{ do: 'forget' }]]

/** @type {Record<Exclude<Call, 'watch' | 'receipt'>, (state: State, answer: Answer) => Step>} */
const ON_SUCCESS = {
  limits: (state, { document }) => {
    const maxChunkSize = Math.min(state.maxChunkSize, document?.chunks?.max_size ?? Infinity)
    const limited = {
      ...state,
      limitsKnown: true,
      maxChunkSize,
      chunkSize: Math.min(state.chunkSize, maxChunkSize),
      zerosType: state.scanZeros ? (document?.zeros?.content_type ?? null) : null,
    }
    if (state.size <= (document?.max_size ?? Infinity)) return proceed(limited)
    const message = `The service takes images of up to ${formatSize(document?.max_size)}.`
    return fail(limited, { code: 'too-large', message })
  },
  create: (state, { document, location, isElsewhere }) => {
    if (isElsewhere) return fail(state, { code: 'refused', message: SENTENCES.elsewhere })
    if (!location) return wait(state, MAX_DELAY, 'create') // a page of a captive portal, say
    return learn({ ...state, url: location, confirmed: true }, document)
  },
  get: (state, { document }) =>
    document?.state === 'failed' && state.recreate && !state.confirmed
      ? recreate(state)
      : learn({ ...state, confirmed: true }, document),
  retry: (state, { document }) => learn(state, document),
  // Refusals of credentials of an older generation no longer count.
  renew: (state) =>
    call({ ...state, generation: state.generation + 1 }, state.afterWait ?? (state.url ? 'get' : 'create'), [
      { do: 'save' },
    ]),
  cancel: cancelled,
}

/**
 * Take in what the service says of the upload.
 * @param {State} state
 * @param {Document | null} document
 * @returns {Step}
 */
const learn = (state, document) => {
  if (typeof document?.state !== 'string') return wait(state, MAX_DELAY, 'get') // a page of a captive portal, say
  if (document.size !== null && document.size !== state.size) {
    const message = `The upload has ${document.size} bytes, the file ${state.size}.`
    return fail(state, { code: 'file-changed', message })
  }
  /** @type {[number, number][]} */
  const inclusive = document.ranges ?? []
  const durable = merge([
    ...state.durable,
    ...inclusive.map(([first, last]) => /** @type {[number, number]} */ ([first, last + 1])),
  ])
  const pieces = state.pieces.filter((piece) => !isWithin(piece, durable))
  const learnt = { ...state, document, durable, pieces }
  switch (document.state) {
    case 'receiving':
      return [{ ...learnt, doing: 'send', afterWait: null }, [{ do: 'save' }]]
    case 'active':
      return state.fileMd5 && document.hashes && base64ToHex(state.fileMd5) !== document.hashes.md5
        ? fail(learnt, { code: 'file-changed', message: SENTENCES.otherContent })
        : call(learnt, 'receipt')
    case 'failed':
      return fail(learnt, handoffFailure(document))
    case 'sealed':
    case 'delivering':
    case 'verifying':
      return followHandoff({ ...learnt, pieces: [], durable: merge([[0, state.size]]) }, handoffError(document))
    default:
      return fail(learnt, { code: 'gone', message: `The upload is ${document.state}.` })
  }
}

/** @param {Piece} piece @param {import('./ranges.js').Range[]} ranges */
const isWithin = ({ start, stop }, ranges) => ranges.some(([from, to]) => from <= start && stop <= to)

/**
 * Wait until the image is active. If the handoff needs the owner's consent again, get that.
 * @param {State} state
 * @param {{ reason: string | null, detail: string } | null} error
 * @returns {Step}
 */
const followHandoff = (state, error) => {
  const following = { ...state, polls: state.polls + 1, lastError: error?.detail ?? null }
  if (error?.reason === 'token-expired' && state.consentGivenFor !== error.detail)
    return renew({ ...following, consentGivenFor: error.detail }, 'get')
  const [waiting, effects] = poll({ ...following, stream: state.stream ?? 'requested' })
  return [waiting, state.stream ? effects : [...effects, { do: 'watch' }]]
}

/** @param {State} state @returns {Step} */
const poll = (state) => {
  const interval = Math.min(MAX_POLL_INTERVAL, 0.3 * 1.3 ** Math.min(state.polls, 20))
  return wait(state, state.stream === 'open' ? IDLE_POLL_INTERVAL : interval, 'get')
}

/**
 * The stream of events has ended: poll until there is another one.
 * @param {State} state
 * @param {Answer} answer
 * @returns {Step}
 */
const streamEnded = (state, { status }) => {
  /** @type {State} */
  const closed = { ...state, stream: status >= 400 ? 'refused' : null }
  return state.doing === 'wait' && state.stream === 'open' ? poll(closed) : [closed, []]
}

// Chunks

/** @param {State} state @param {Event & { type: 'answer', random?: number }} event @returns {Step} */
const chunkAnswered = (state, { start, answer, seconds = 0, random = 0.5 }) => {
  const piece = state.pieces.find((each) => each.stage === 'sending' && each.start === start)
  if (!piece) return [state, []]
  const length = piece.stop - piece.start
  const others = state.pieces.filter((each) => each !== piece)
  const unsent = dropOversized({ ...state, pieces: [...others, { ...piece, stage: 'ready' }] })
  switch (classify(answer)) {
    case 'ok': {
      const durable = merge([...state.durable, [piece.start, piece.stop]])
      const sent = {
        ...state,
        durable,
        pieces: others,
        failures: 0,
        mismatches: 0,
        renewed: false,
        lastError: null,
      }
      return [piece.zeros ? sent : adapt(sent, length, seconds), [{ do: 'save' }]]
    }
    case 'get':
      return ifSending(unsent, () => call(unsent, 'get'))
    case 'renew':
      if (Number(piece.generation) < state.generation) return [unsent, []]
      if (state.renewed) return fail(unsent, failureOf(answer, 'unauthenticated'))
      return ifSending(unsent, () => renew(unsent, 'get'))
    case 'retry': {
      const mismatches = state.mismatches + Number(answer.reason === 'chunk-digest-mismatch')
      if (mismatches >= MAX_MISMATCHES) return fail(unsent, failureOf(answer))
      const next = { ...(answer.status ? unsent : shrink(unsent, length)), mismatches }
      return ifSending(next, () => backOff(next, answer, random, 'get'))
    }
    case 'shrink': {
      if (length <= MIN_CHUNK) return fail(unsent, failureOf(answer, 'refused'))
      const maxChunkSize = Math.max(MIN_CHUNK, Math.min(state.maxChunkSize, answer.limit ?? Infinity, halfOf(length)))
      const chunkSize = Math.min(state.chunkSize, maxChunkSize)
      return [dropOversized({ ...unsent, maxChunkSize, chunkSize, fastChunks: 0 }), []]
    }
    default:
      return fail(unsent, failureOf(answer))
  }
}

/**
 * Take a step, unless something else is waited for already: that will find out all the same.
 * @param {State} state
 * @param {() => Step} step
 * @returns {Step}
 */
const ifSending = (state, step) => (state.doing === 'send' ? step() : [state, []])

/**
 * Go on with chunks whenever nothing else has to happen first.
 * @param {Step} step
 * @returns {Step}
 */
const settle = ([state, effects]) => {
  if (state.doing !== 'send') return [state, effects]
  if (!missing(state.size, state.durable).length) return call(state, 'get', effects)
  const [scheduled, more] = schedule(state)
  return [scheduled, [...effects, ...more]]
}

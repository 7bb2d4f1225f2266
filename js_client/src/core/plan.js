// What happens next to one upload: plan(state, event) -> [state, effects].
// Pure: no I/O, no clock, no chance; those come in with the events. States are never changed, only replaced.
//
// Its one rule: a byte counts only when the service has said that it is durable.
//
// `doing` is the one thing besides chunks that is waited for: an effect's name, or `wait` until `then`, or `send`.
// `stream` is one of events after the bytes are safe: `asked` for, `heard`, or `refused`.
// `pieces` are the ranges on their way: hashing -> ready -> flying -> durable.

import { failure, undelivered, verdict } from './failures.js'
import { FIRST, LARGEST, SMALLEST, adapted, cut, fill, half, joined, narrowed } from './scheduling.js'
import { merge, missing } from './ranges.js'
import { OVER, cancels, hex, phaseOf, unsafe } from './status.js'

const LONGEST_DELAY = 15 // seconds: a service that is back is found within this
const LONGEST_WISH = 300 // seconds; a longer Retry-After is not believed
const SELDOM = 30 // seconds between two questions while a stream of events tells everything sooner
const MOST_MISMATCHES = 5 // times in a row that a chunk may arrive damaged before it is no accident any more
const NOTHING = []

/**
 * An upload of `size` bytes that nothing is known of yet but, perhaps, its `url`. `anew`: if that one is gone or
 * has failed, another one is made.
 */
export const begin = ({ size, url = null, anew = false, largest = LARGEST, parallel = 4, scan = true }) => ({
  phase: 'new',
  doing: 'nothing',
  then: null,
  size,
  url,
  anew,
  scan,
  known: false,
  believed: false,
  durable: [],
  pieces: NOTHING,
  whole: null,
  chunk: Math.min(FIRST, largest),
  largest,
  width: Math.min(2, parallel),
  widest: parallel,
  quick: 0,
  failures: 0,
  mismatches: 0,
  polls: 0,
  stream: null,
  generation: 0,
  renewed: false,
  zeros: null,
  limits: null,
  document: null,
  receipt: null,
  trouble: null,
  error: null,
})

export const plan = (state, event) => {
  const step = OVER.includes(state.phase) && !OUTLIVES.includes(event.type) ? null : STEPS[event.type]
  const [next, effects] = step ? settle(step(state, event)) : [state, NOTHING]
  return [{ ...next, phase: phaseOf(next) }, effects]
}

const OUTLIVES = ['start', 'cancel', 'whole'] // events that an upload which has failed still obeys

const STEPS = {
  start: (state) => {
    if (!['new', 'paused', 'failed'].includes(state.phase)) return [state, NOTHING]
    const begun = {
      ...state,
      phase: 'preparing',
      error: null,
      trouble: null,
      failures: 0,
      mismatches: 0,
      renewed: false,
    }
    // All bytes are there: it is the handoff that is tried again.
    return state.error?.code === 'undelivered' ? then({ ...begun, document: null }, 'retry') : next(begun)
  },

  // What is safe already goes on without us: there is nothing to pause.
  pause: (state) => (unsafe(state) && !cancels(state) ? halt({ ...state, phase: 'paused' }) : [state, NOTHING]),

  cancel: (state) => {
    if (state.phase === 'active' || state.phase === 'cancelled') return [state, NOTHING]
    const [halted, effects] = halt(state)
    if (!state.url) return [{ ...halted, phase: 'cancelled' }, [...effects, { do: 'forget' }]]
    return then({ ...halted, phase: 'preparing', failures: 0 }, 'cancel', effects)
  },

  // The time of a wait is over, or the link is said to be back.
  woken: (state) => (state.doing === 'wait' ? then(state, state.then) : [state, NOTHING]),

  hashed: (state, { start, stop, pieces }) => {
    const asked = state.pieces.find((each) => each.stage === 'hashing' && each.start === start && each.stop === stop)
    if (!asked) return [state, NOTHING]
    const others = state.pieces.filter((each) => each !== asked)
    const came = joined([...others, ...pieces.map((each) => ({ ...each, stage: 'ready' }))])
    return [{ ...cut({ ...state, pieces: came }), empty: pieces.length === 1 && !!pieces[0].zeros }, NOTHING]
  },

  whole: (state, { md5 }) => [{ ...state, whole: md5 }, NOTHING],

  broken: (state, { code, message }) => fail(state, { code, message }),

  // What asking would have told.
  told: (state, { document }) =>
    state.stream && (state.doing === 'ask' || (state.doing === 'wait' && state.then === 'ask'))
      ? learn({ ...state, stream: 'heard', failures: 0, trouble: null }, document)
      : [state, NOTHING],

  answer: (state, event) => (ANSWERS[event.to] ?? heard)(state, event),
}

// What comes next

const then = (state, doing, effects = NOTHING) => [
  { ...state, doing, then: null },
  doing === 'send' ? effects : [...effects, { do: doing }],
]

const next = (state) =>
  !state.known ? then(state, 'limits') : state.url ? then(state, 'ask') : create(state, [{ do: 'save' }])

// The creation has a key, and so a repeated one gives the same upload, also by the next page: it is remembered before.
const create = (state, effects) => then(state, 'create', effects)

const again = (state) => create({ ...state, url: null, durable: [] }, [{ do: 'forget' }, { do: 'save' }])

const wait = (state, seconds, doing) => [{ ...state, doing: 'wait', then: doing }, [{ do: 'wait', seconds }]]

const halt = (state) => [
  { ...state, doing: 'nothing', then: null, stream: null, pieces: ready(state.pieces) },
  [{ do: 'abort' }],
]

const ready = (pieces) => pieces.filter((each) => each.stage !== 'hashing').map((each) => ({ ...each, stage: 'ready' }))

const fail = (state, error, further = NOTHING) => {
  const [halted, effects] = halt(state)
  return [{ ...halted, phase: 'failed', error }, [...effects, ...further]]
}

const delay = (failures, chance, wish) => {
  const longest = Math.min(LONGEST_DELAY, 2 ** Math.min(failures - 2, 9))
  return Math.max(longest * (0.5 + chance / 2), Math.min(wish, LONGEST_WISH))
}

const patiently = (state, answer, chance, doing) => {
  const failures = state.failures + 1
  const trouble = answer.detail || `The answer was ${answer.status || 'lost'}.`
  return wait({ ...state, failures, trouble }, delay(failures, chance, answer.retryAfter), doing)
}

// What answers change

const heard = (state, { to, answer, chance = 0.5 }) => {
  if (state.doing !== to) return [state, NOTHING]
  const meant = verdict(answer)
  // The image is active with a receipt or, if the service has none for us, without.
  if (to === 'receipt') return finished(state, meant === 'done' ? answer.document : null)
  if (meant === 'done') return HEARD[to]({ ...state, failures: 0, renewed: to === 'renew', trouble: null }, answer)
  if (to === 'renew')
    return meant === 'retry' ? patiently(state, answer, chance, to) : fail(state, failure(answer, 'unauthenticated'))
  if (meant === 'retry') return patiently(state, answer, chance, to)
  if (to === 'retry' && meant === 'give up') return fail(state, failure(answer, 'undelivered'))
  if (to === 'limits') return next({ ...state, known: true })
  if (meant === 'renew' && !state.renewed) return renew(state, to)
  if (to === 'cancel') return meant === 'gone' ? cancelled(state) : then(state, 'ask')
  if (meant === 'gone' && !state.believed && state.anew) return again(state)
  if (meant === 'gone') return fail(state, failure(answer, answer.reason ? undefined : 'gone'), [{ do: 'forget' }])
  return fail(state, failure(answer))
}

const renew = (state, doing) => [{ ...state, doing: 'renew', then: doing }, [{ do: 'renew' }]]

const finished = (state, receipt) => [{ ...state, receipt, doing: 'nothing', phase: 'active' }, [{ do: 'finish' }]]

const cancelled = (state) => [{ ...state, doing: 'nothing', phase: 'cancelled' }, [{ do: 'forget' }]]

const HEARD = {
  limits: (state, { document }) => {
    const largest = Math.min(state.largest, document?.chunks?.max_size ?? Infinity)
    const limited = {
      ...state,
      known: true,
      limits: document,
      largest,
      chunk: Math.min(state.chunk, largest),
      zeros: state.scan ? (document?.zeros?.content_type ?? null) : null,
    }
    return state.size > (document?.max_size ?? Infinity)
      ? fail(limited, { code: 'too-large', message: `The service takes images of up to ${document.max_size} bytes.` })
      : next(limited)
  },
  create: (state, { document, location }) =>
    learn({ ...state, url: location ?? document.href, believed: true }, document),
  ask: (state, { document }) =>
    document?.state === 'failed' && state.anew && !state.believed
      ? again(state)
      : learn({ ...state, believed: true }, document),
  retry: (state, { document }) => learn(state, document),
  // A ticket of the new generation; what an older one was refused for does not count any more.
  renew: (state) =>
    then({ ...state, generation: state.generation + 1 }, state.then ?? (state.url ? 'ask' : 'create'), [
      { do: 'save' },
    ]),
  cancel: cancelled,
}

const learn = (state, document) => {
  if (typeof document?.state !== 'string') return wait(state, LONGEST_DELAY, 'ask') // a page of some portal, say
  if (document.size !== null && document.size !== state.size) {
    const message = `The upload has ${document.size} bytes, the file ${state.size}.`
    return fail(state, { code: 'file-changed', message })
  }
  const came = (document.ranges ?? []).map(([first, last]) => [first, last + 1])
  const durable = merge([...state.durable, ...came])
  const learnt = { ...state, document, durable, pieces: state.pieces.filter((each) => !within(each, durable)) }
  const trouble = document.handoff?.trouble
  switch (document.state) {
    case 'receiving':
      return then(learnt, 'send', [{ do: 'save' }])
    case 'active':
      return state.whole && document.hashes && hex(state.whole) !== document.hashes.md5
        ? fail(learnt, { code: 'file-changed', message: 'The image is there, but it is not this file.' })
        : then(learnt, 'receipt')
    case 'failed':
      return fail(learnt, undelivered(document))
    case 'sealed':
    case 'delivering':
    case 'verifying':
      return follow(
        { ...learnt, pieces: NOTHING, durable: merge([[0, state.size]]), trouble: trouble?.detail ?? null },
        trouble,
      )
    default:
      return fail(learnt, { code: 'gone', message: `The upload is ${document.state}.` })
  }
}

// The bytes are safe: ask until the image is there. Where the service needs its owner's consent again, ask for that.
const follow = (state, trouble) => {
  const polls = state.polls + 1
  if (trouble?.reason === 'token-expired' && state.bound !== trouble.detail)
    return renew({ ...state, polls, bound: trouble.detail }, 'ask')
  const [waiting, effects] = poll({ ...state, polls, stream: state.stream ?? 'asked' })
  return [waiting, state.stream ? effects : [...effects, { do: 'watch' }]]
}

const poll = (state) =>
  wait(state, state.stream === 'heard' ? SELDOM : Math.min(3, 0.3 * 1.3 ** Math.min(state.polls, 20)), 'ask')

/** The stream of events has ended: it is asked again until there is another one. */
const unheard = (state, { answer }) => {
  const silent = { ...state, stream: answer.status >= 400 ? 'refused' : null }
  return state.doing === 'wait' && state.stream === 'heard' ? poll(silent) : [silent, NOTHING]
}

// Chunks

const within = ({ start, stop }, ranges) => ranges.some(([from, to]) => from <= start && stop <= to)

const sent = (state, { start, answer, seconds, chance = 0.5 }) => {
  const piece = state.pieces.find((each) => each.stage === 'flying' && each.start === start)
  if (!piece) return [state, NOTHING]
  const length = piece.stop - piece.start
  const others = state.pieces.filter((each) => each !== piece)
  const back = cut({ ...state, pieces: [...others, { ...piece, stage: 'ready' }] })
  switch (verdict(answer)) {
    case 'done': {
      const durable = merge([...state.durable, [piece.start, piece.stop]])
      const good = { ...state, durable, pieces: others, failures: 0, mismatches: 0, renewed: false, trouble: null }
      return [piece.zeros ? good : adapted(good, length, seconds), [{ do: 'save' }]]
    }
    case 'ask':
      return unless(back, () => then(back, 'ask'))
    case 'renew':
      if (piece.generation < state.generation) return [back, NOTHING]
      if (state.renewed) return fail(back, failure(answer, 'unauthenticated'))
      return unless(back, () => renew(back, 'ask'))
    case 'retry': {
      const mismatches = state.mismatches + (answer.reason === 'chunk-digest-mismatch')
      if (mismatches >= MOST_MISMATCHES) return fail(back, failure(answer))
      const less = answer.status ? back : narrowed(back, length)
      return unless({ ...less, mismatches }, (calm) => patiently(calm, answer, chance, 'ask'))
    }
    case 'shrink': {
      if (length <= SMALLEST) return fail(back, failure(answer, 'refused'))
      const largest = Math.max(SMALLEST, Math.min(state.largest, answer.limit ?? Infinity, half(length)))
      return [cut({ ...back, largest, chunk: Math.min(state.chunk, largest), quick: 0 }), NOTHING]
    }
    default:
      return fail(back, failure(answer))
  }
}

/** Unless something else is being waited for already, which will find out all the same. */
const unless = (state, otherwise) => (state.doing === 'send' ? otherwise(state) : [state, NOTHING])

// Whenever nothing else has to happen first, chunks go on.
const settle = ([state, effects]) => {
  if (state.doing !== 'send') return [state, effects]
  if (!missing(state.size, state.durable).length) return then(state, 'ask', effects)
  const [filled, more] = fill(state)
  return [filled, [...effects, ...more]]
}

const ANSWERS = { send: sent, watch: unheard }

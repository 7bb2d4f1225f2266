// The pieces of one upload: how large they are, how many are on their way at a time, which comes next. Pure.
//
// A piece is { start, stop, stage, md5 | zeros }; hashing -> ready -> flying. No two of them overlap.

import { missing } from './ranges.js'

const KIB = 1024
const MIB = 1024 * KIB
export const SMALLEST = 256 * KIB // bytes; a bad link makes chunks shrink down to this
export const FIRST = 4 * MIB // bytes; what a link is tried with
export const LARGEST = 64 * MIB // bytes; what is lost if a chunk is broken off at its end
const SCAN = 64 * MIB // bytes that are looked through at a time where all are zero
const QUICK = 3 // seconds that a chunk takes: larger ones, and more at a time, are tried below
const SLOW = 15 // seconds: smaller ones, and fewer, above

export const half = (length) => 2 ** Math.floor(Math.log2(length / 2))

export const adapted = (state, length, seconds) => {
  if (seconds > SLOW) return narrowed(state, length)
  const quick = state.quick + (seconds < QUICK && length * 2 > state.chunk)
  if (quick < state.width) return { ...state, quick }
  const chunk = Math.min(state.chunk * 2, state.largest)
  return { ...state, quick: 0, chunk, width: Math.min(state.width + 1, state.widest) }
}

export const narrowed = (state, length) => {
  const chunk = Math.min(state.chunk, Math.max(SMALLEST, half(length)), state.largest)
  return cut({ ...state, chunk, quick: 0, width: Math.max(1, state.width - 1) })
}

/** Without what is ready and larger than chunks are now: it is hashed again, in smaller ones. */
export const cut = (state) => ({
  ...state,
  pieces: state.pieces.filter((each) => each.stage !== 'ready' || each.zeros || each.stop - each.start <= state.chunk),
})

/** Runs of zeros that meet are one. */
export const joined = (pieces) => {
  const found = []
  for (const piece of [...pieces].sort((a, b) => a.start - b.start)) {
    const last = found.at(-1)
    const meet =
      last?.zeros && piece.zeros && last.stop === piece.start && last.stage === 'ready' && piece.stage === 'ready'
    if (meet) found[found.length - 1] = { ...last, stop: piece.stop }
    else found.push(piece)
  }
  return found
}

/** As many pieces as fit are hashed and sent: [state, effects]. */
export const fill = (state) => {
  const [hashing, toHash] = hash(state)
  const [sending, toSend] = send(hashing)
  return [sending, [...toHash, ...toSend]]
}

const hash = (state) => {
  const pieces = [...state.pieces]
  const effects = []
  const count = (...stages) => pieces.filter((each) => stages.includes(each.stage)).length
  while (count('hashing') < 2 && count('hashing', 'ready') < state.width + 2) {
    const [gap] = missing(state.size, [...state.durable, ...pieces.map((each) => [each.start, each.stop])])
    if (!gap) break
    const [start, end] = gap
    const stop = Math.min(end, start + (state.empty && state.zeros ? SCAN : state.chunk))
    pieces.push({ start, stop, stage: 'hashing' })
    effects.push({ do: 'hash', start, stop, chunk: state.chunk, zeros: !!state.zeros })
  }
  return [{ ...state, pieces }, effects]
}

const send = (state) => {
  let pieces = joined(state.pieces)
  const effects = []
  const unplanned = missing(state.size, [...state.durable, ...pieces.map((each) => [each.start, each.stop])])
  const follows = ({ stop }) =>
    unplanned.some(([at]) => at === stop) || pieces.some((each) => each.stage === 'hashing' && each.start === stop)
  for (const piece of pieces) {
    if (pieces.filter((each) => each.stage === 'flying').length >= state.width) break
    if (piece.stage !== 'ready' || (piece.zeros && follows(piece))) continue
    // The last piece brings the digest of the whole file along, so it waits for that.
    const last = !unplanned.length && pieces.every((each) => each === piece || each.stage === 'flying')
    if (last && !state.whole) continue
    const flying = { ...piece, stage: 'flying', generation: state.generation }
    pieces = pieces.map((each) => (each === piece ? flying : each))
    effects.push({ do: 'send', ...flying, size: state.size, whole: state.whole })
  }
  return [{ ...state, pieces }, effects]
}

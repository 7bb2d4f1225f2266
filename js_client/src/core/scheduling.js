// The schedule of pieces: the next ones to hash and send, their size, and how many are sent at a time. Pure.
//
// A piece is a chunk (with its md5) or a run of zeros. Pieces never overlap.

import { missing } from './ranges.js'

/**
 * @typedef {import('./plan.js').State} State
 * @typedef {import('./plan.js').Effect} Effect
 *
 * @typedef {object} Piece
 * @property {number} start
 * @property {number} stop
 * @property {'hashing' | 'ready' | 'sending'} stage
 * @property {string} [md5]  base64; of a chunk that is hashed
 * @property {boolean} [zeros]  a run of zeros, which is declared instead of sent
 * @property {number} [generation]  of the credentials that it was sent with
 */

const KIB = 1024
const MIB = 1024 * KIB
export const MIN_CHUNK = 256 * KIB // bytes
export const FIRST_CHUNK = 4 * MIB // bytes
export const MAX_CHUNK = 64 * MIB // bytes; as much is lost if a chunk is interrupted at its end
const ZEROS_SCAN = 64 * MIB // bytes scanned at a time within zeros
const FAST = 3 // seconds for a chunk; below, chunks grow
const SLOW = 15 // seconds; above, chunks shrink
const MAX_HASHING = 2 // pieces
const READY_AHEAD = 2 // pieces that are hashed before they are needed

/** The largest power of two that is at most half of `length`. @param {number} length */
export const halfOf = (length) => 2 ** Math.floor(Math.log2(length / 2))

/** @param {Piece} piece @returns {[number, number]} */
const rangeOf = ({ start, stop }) => [start, stop]

/**
 * Adapt size and number of chunks to the seconds that one of `length` bytes took.
 * @param {State} state
 * @param {number} length
 * @param {number} seconds
 */
export const adapt = (state, length, seconds) => {
  if (seconds > SLOW) return shrink(state, length)
  const fastChunks = state.fastChunks + Number(seconds < FAST && length * 2 > state.chunkSize)
  if (fastChunks < state.parallel) return { ...state, fastChunks }
  return {
    ...state,
    fastChunks: 0,
    chunkSize: Math.min(state.chunkSize * 2, state.maxChunkSize),
    parallel: Math.min(state.parallel + 1, state.maxParallel),
  }
}

/**
 * Send smaller chunks, and fewer at a time, after one of `length` bytes was slow or lost.
 * @param {State} state
 * @param {number} length
 */
export const shrink = (state, length) => {
  const chunkSize = Math.min(state.chunkSize, Math.max(MIN_CHUNK, halfOf(length)), state.maxChunkSize)
  return dropOversized({ ...state, chunkSize, fastChunks: 0, parallel: Math.max(1, state.parallel - 1) })
}

/**
 * Drop hashed chunks larger than chunks are now, so that they are hashed again in smaller ones.
 * @param {State} state
 */
export const dropOversized = (state) => ({
  ...state,
  pieces: state.pieces.filter(
    ({ stage, zeros, start, stop }) => stage !== 'ready' || zeros || stop - start <= state.chunkSize,
  ),
})

/**
 * Sort pieces and join runs of zeros that touch.
 * @param {Piece[]} pieces
 */
export const joinZeros = (pieces) => {
  /** @type {Piece[]} */
  const joined = []
  for (const piece of [...pieces].sort((a, b) => a.start - b.start)) {
    const last = joined.at(-1)
    if (last && isReadyRun(last) && isReadyRun(piece) && last.stop === piece.start)
      joined[joined.length - 1] = { ...last, stop: piece.stop }
    else joined.push(piece)
  }
  return joined
}

/** @param {Piece} piece */
const isReadyRun = ({ zeros, stage }) => zeros && stage === 'ready'

/**
 * Hash and send as many pieces as may be.
 * @param {State} state
 * @returns {[State, Effect[]]}
 */
export const schedule = (state) => {
  const [hashing, toHash] = scheduleHashing(state)
  const [sending, toSend] = scheduleSending(hashing)
  return [sending, [...toHash, ...toSend]]
}

/** @param {State} state @returns {[State, Effect[]]} */
const scheduleHashing = (state) => {
  const pieces = [...state.pieces]
  /** @type {Effect[]} */
  const effects = []
  const hashing = () => pieces.filter(({ stage }) => stage === 'hashing').length
  const notSending = () => pieces.filter(({ stage }) => stage !== 'sending').length
  while (hashing() < MAX_HASHING && notSending() < state.parallel + READY_AHEAD) {
    const [gap] = missing(state.size, [...state.durable, ...pieces.map(rangeOf)])
    if (!gap) break
    const [start, end] = gap
    const stop = Math.min(end, start + (state.withinZeros && state.zerosType ? ZEROS_SCAN : state.chunkSize))
    pieces.push({ start, stop, stage: 'hashing' })
    effects.push({ do: 'hash', start, stop, chunkSize: state.chunkSize, zeros: !!state.zerosType })
  }
  return [{ ...state, pieces }, effects]
}

/** @param {State} state @returns {[State, Effect[]]} */
const scheduleSending = (state) => {
  let pieces = joinZeros(state.pieces)
  /** @type {Effect[]} */
  const effects = []
  const unplanned = missing(state.size, [...state.durable, ...pieces.map(rangeOf)])
  /** Whether what follows a run of zeros is not hashed yet: it may belong to the run. @param {Piece} run */
  const mayGrow = ({ stop }) =>
    unplanned.some(([start]) => start === stop) ||
    pieces.some(({ stage, start }) => stage === 'hashing' && start === stop)
  for (const piece of pieces) {
    if (pieces.filter(({ stage }) => stage === 'sending').length >= state.parallel) break
    if (piece.stage !== 'ready' || (piece.zeros && mayGrow(piece))) continue
    // The last piece carries the digest of the whole file, so it waits for that.
    const isLast = !unplanned.length && pieces.every((each) => each === piece || each.stage === 'sending')
    if (isLast && !state.fileMd5) continue
    const { generation, size, fileMd5 } = state
    const sending = { ...piece, stage: /** @type {const} */ ('sending'), generation }
    pieces = pieces.map((each) => (each === piece ? sending : each))
    const { start, stop, md5, zeros } = piece
    effects.push({ do: 'send', start, stop, md5, zeros, size, fileMd5 })
  }
  return [{ ...state, pieces }, effects]
}

// What the state of an upload means to people: phase, progress, and whether the page may be left. Pure.

import { total } from './ranges.js'
import { isFinal } from './vocabulary.js'

/**
 * @typedef {import('./plan.js').State} State
 * @typedef {import('./vocabulary.js').Phase} Phase
 */

/**
 * Whether bytes would be lost to the upload if the page were closed now.
 * @param {State} state
 */
export const isUnsafe = ({ phase, doing, document }) =>
  !isFinal(phase) && doing !== 'nothing' && (document?.state ?? 'receiving') === 'receiving'

/** @param {State} state */
export const isCancelling = ({ doing, afterWait }) => doing === 'cancel' || afterWait === 'cancel'

/** @type {Record<string, Phase | undefined>} */
const HANDOFF_PHASES = { sealed: 'handing over', delivering: 'handing over', verifying: 'verifying' }

/** @param {State} state @returns {Phase} */
export const phaseOf = (state) => {
  const { phase, doing, document, pieces } = state
  if (phase === 'new' || phase === 'paused' || isFinal(phase)) return phase
  if (isCancelling(state)) return 'cancelling'
  const handoff = HANDOFF_PHASES[document?.state]
  if (handoff) return handoff
  if (pieces.some(({ stage }) => stage === 'sending')) return 'uploading'
  if (doing === 'wait' || doing === 'renew') return 'waiting'
  if (doing === 'send') return 'hashing'
  return state.confirmed ? phase : 'preparing'
}

/** @param {State} state */
export const durableBytes = ({ durable }) => total(durable)

/**
 * The part of the whole way that is done, 0 to 1; 1 only when the image is active.
 *
 * Sending counts for nine tenths. `sentBytes` are the durable bytes and those on their way.
 * @param {State} state
 * @param {number} sentBytes
 */
export const fractionOf = ({ phase, size, document }, sentBytes) => {
  if (phase === 'active') return 1
  const sent = size ? sentBytes / size : 1
  const delivered = size ? (document?.handoff?.delivered ?? 0) / size : 0
  return Math.min(0.99, 0.9 * sent + (sent < 1 ? 0 : 0.09 * Math.min(1, delivered)))
}

// What the state of an upload means to people. Pure.

import { total } from './ranges.js'

export const OVER = ['active', 'failed', 'cancelled']

/** What has yet to be durable before the bytes are safe. */
export const unsafe = ({ phase, doing, document }) =>
  !OVER.includes(phase) && doing !== 'nothing' && (document?.state ?? 'receiving') === 'receiving'

export const cancels = ({ doing, then }) => doing === 'cancel' || then === 'cancel'

const HANDOFF = { sealed: 'handing over', delivering: 'handing over', verifying: 'verifying' }

export const phaseOf = (state) => {
  const { phase, doing, document, pieces } = state
  if (phase === 'new' || phase === 'paused' || OVER.includes(phase)) return phase
  if (cancels(state)) return 'cancelling'
  if (HANDOFF[document?.state]) return HANDOFF[document.state]
  if (pieces.some((each) => each.stage === 'flying')) return 'uploading'
  if (doing === 'wait' || doing === 'renew') return 'waiting'
  return doing === 'send' ? 'hashing' : state.believed && phase !== 'preparing' ? phase : 'preparing'
}

export const hex = (base64) =>
  Array.from(atob(base64), (each) => each.charCodeAt(0).toString(16).padStart(2, '0')).join('')

/** From 0 to 1, and 1 only when the image is active. `sent` is bytes, those on their way included. */
export const fraction = ({ phase, size, document }, sent) => {
  if (phase === 'active') return 1
  const done = size ? sent / size : 1
  const delivered = size ? (document?.handoff?.delivered ?? 0) / size : 0
  return Math.min(0.99, 0.9 * done + (done < 1 ? 0 : 0.09 * Math.min(1, delivered)))
}

export const durableBytes = ({ durable }) => total(durable)

// The client's own words: phases, failure codes and sentences. Horizon translates them; everything else that a person
// reads comes from the service.

/** The phases of an upload: `new` until start(); the last three are final, and only `failed` can be started again. */
export const PHASES = /** @type {const} */ ([
  'new',
  'preparing',
  'hashing',
  'uploading',
  'waiting',
  'paused',
  'handing over',
  'verifying',
  'cancelling',
  'active',
  'failed',
  'cancelled',
])

/** @typedef {typeof PHASES[number]} Phase */

/** @param {Phase} phase */
export const isFinal = (phase) => phase === 'active' || phase === 'failed' || phase === 'cancelled'

/**
 * The kind of a failure.
 * @typedef {'unauthenticated' | 'forbidden' | 'gone' | 'file-changed' | 'file-unreadable' | 'too-large' | 'refused'
 *   | 'damaged' | 'undelivered' | 'unhashed' | 'cancelled'} Code
 *
 * A failure as plain data, which a worker can post to its page.
 * @typedef {object} Failure
 * @property {Code} code
 * @property {string} message  for people
 * @property {number | null} [status]
 * @property {string | null} [reason]  the service's, if an answer was the cause
 * @property {string | null} [requestId]
 */

export const SENTENCES = {
  anotherOwner: 'Somebody else has begun this upload.',
  anotherTab: 'This file is being uploaded already, here or in another tab.',
  cancelled: 'The upload was cancelled.',
  connectionLost: 'The connection is lost.',
  credentialsRefused: 'The ticket or token is no longer good.',
  elsewhere: 'The service names an address that is not its own. Its operator has to correct public_endpoint.',
  fileNeeded: 'The file has to be chosen again.',
  fileForbidden: 'The browser may not read the file.',
  noAnswer: 'There was no answer.',
  otherContent: 'The image is there, but it is not this file.',
  workerFailed: 'The worker could not be started.',
}

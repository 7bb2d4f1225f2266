// Failures that retrying cannot solve, and what people can do about each.

/** @typedef {import('../core/vocabulary.js').Code} Code */

/** @type {Record<Code, string>} */
const ADVICE = {
  unauthenticated: 'Sign in again, or get a new ticket for this upload; then resume.',
  forbidden: 'Ask the operator of this cloud for permission.',
  gone: 'The service no longer has this upload. Start it again.',
  'file-changed': 'This is not the file that the upload was started with. Choose that one, or cancel and start again.',
  'file-unreadable': 'The browser can’t read the file any more. Choose it again; what was sent is kept.',
  'too-large': 'Ask the operator of this cloud for more space, or make the image smaller.',
  refused: 'Correct what is wrong, and start again.',
  damaged: 'The bytes are damaged on their way again and again. Try another network; what was sent is kept.',
  undelivered: 'When the cause is solved, try again: only the handoff is repeated. Or cancel the upload.',
  unhashed: 'The worker that computes checksums does not run. Is its script there, and may it run WebAssembly?',
  cancelled: 'Start it again if you still need it.',
}

/** A failure that retrying cannot solve. */
export class UploadError extends Error {
  /** @param {import('../core/vocabulary.js').Failure} failure */
  constructor({ code, message, status, reason, requestId }) {
    super(message)
    this.name = /** @type {const} */ ('UploadError')
    /** The kind of failure; these names are stable. */
    this.code = code
    /** What a person can do about it. */
    this.advice = ADVICE[code] ?? ''
    /** HTTP status, if an answer was the cause. */
    this.status = status
    /** The service's reason, if it gave one. */
    this.reason = reason
    /** The request id to give to an operator. */
    this.requestId = requestId
  }
}

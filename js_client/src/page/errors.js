// What can't be mended by trying again, and what a person can do about it.

const ADVICE = {
  unauthenticated: 'Sign in again, or get a new ticket for this upload; then resume.',
  forbidden: 'Ask whoever runs this cloud for the right to do this.',
  gone: 'The service has this upload no more. Start it anew.',
  'file-changed': 'This is not the file that the upload was begun with. Take that one, or cancel and start anew.',
  'file-unreadable': 'The browser can’t read the file any more. Choose it again; what was sent is kept.',
  'too-large': 'Ask whoever runs this cloud for more room, or make the image smaller.',
  refused: 'Change what is said to be wrong, and start anew.',
  damaged: 'The bytes arrive damaged again and again. Try another network; what was sent is kept.',
  undelivered: 'When the cause is mended, try again: the handoff is repeated. Or cancel it.',
  unhashed: 'The worker that computes checksums does not run here. Is its script there, and may it run WebAssembly?',
  cancelled: 'Start it anew if it is still wanted.',
}

/** `code` is stable, `message` says what happened, `advice` what a person can do. */
export class UploadError extends Error {
  constructor({ code, message, ...more }) {
    super(message)
    Object.assign(this, { name: 'UploadError', code, advice: ADVICE[code] ?? '', ...more })
  }
}

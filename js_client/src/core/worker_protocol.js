// The messages between a page and its worker: types only.

/**
 * The messages to the worker. A file that is not at hand is { size, fingerprint }.
 * @typedef {{ open: File | { size: number, fingerprint: string } }
 *   | { begin: Settings }
 *   | { event: { type: 'start' | 'pause' | 'cancel' | 'wake' } }
 *   | { reply: number, value?: any, error?: string }} ToWorker
 *
 * The messages to the page. `ask` wants a reply with the result of a function that the page has.
 * @typedef {{ opened: string }
 *   | { progress: object, error: Failure | null, url: string | null, isUnsafe: boolean }
 *   | { save: object } | { forget: true } | { finish: object }
 *   | { ask: number, what: 'token' | 'renewTicket', url?: string }
 *   | { error: Failure }} ToPage
 *
 * @typedef {import('./vocabulary.js').Failure} Failure
 *
 * @typedef {object} Settings
 * @property {string} uploads  URL of the collection
 * @property {string | null} [url]
 * @property {string | true} [token]  true if the page has a function for it
 * @property {string | null} [ticket]
 * @property {boolean} renewTicket  whether the page has a function for it
 * @property {object} description  of the upload to be created
 * @property {string} key  idempotency key of the creation
 * @property {boolean} recreate
 * @property {number} [maxChunkSize]  bytes
 * @property {number} [maxParallel]
 * @property {boolean} [scanZeros]
 * @property {number} [stall]  seconds
 */

export {}

// One upload, as a page uses it: keeps a record of it, keeps other tabs away from it, and reports its progress.
// The work is done in a worker (worker/engine.js), which is loaded when the first upload starts.

import { SENTENCES, isFinal } from '../core/vocabulary.js'
import { UploadError } from './errors.js'
import { baseUrl, identify } from './identity.js'
import { careful, indexedDb, memory } from './storage.js'

/**
 * @typedef {import('./types.js').Options} Options
 * @typedef {import('./types.js').Previous} Previous
 * @typedef {import('./types.js').Progress} Progress
 * @typedef {import('./types.js').Result} Result
 */

const WEEK = 7 * 24 * 3600e3 // milliseconds; the service's default expiry
const FINISHED_TTL = 600e3 // milliseconds for which other tabs can see that an upload is finished

/** @param {Options} options */
const storageOf = ({ storage }) => careful(storage ?? (globalThis.indexedDB ? indexedDb() : memory()))

/** The URL of the collection of uploads. @param {string | undefined} endpoint */
const uploadsUrl = (endpoint) => `${baseUrl(endpoint)}/v1/uploads`

/** JSON in which the order of members does not matter. @param {object} value */
const canonical = (value) =>
  JSON.stringify(value, (_, each) =>
    each?.constructor === Object ? Object.fromEntries(Object.entries(each).sort()) : each,
  )

/** @param {File | FileSystemFileHandle} source */
const fileOf = async (source) => {
  try {
    return 'getFile' in source ? await source.getFile() : source
  } catch (error) {
    throw { code: 'file-unreadable', message: /** @type {any} */ (error).message }
  }
}

/** @param {Options['worker']} worker */
const makeWorker = (worker) => {
  if (typeof worker === 'function') return worker()
  // Bundlers recognise the worker by this very form; the path is that in dist/.
  return worker ? new Worker(worker) : new Worker(new URL('./resumable-glance.worker.js', import.meta.url))
}

/** The records of an identity. @param {Options} options @param {ReturnType<typeof careful>} storage */
const recordsOf = async (options, storage) => {
  const identity = await identify(options).catch((failure) => {
    throw failure instanceof Error ? failure : new UploadError(failure)
  })
  return /** @type {any[]} */ (await storage.all()).filter((record) => record.identity === identity)
}

const TypedEventTarget = /** @type {new () => import('./types.js').UploadEvents & EventTarget} */ (EventTarget)

/** @implements {AsyncIterable<Readonly<Progress>>} */
export class Upload extends TypedEventTarget {
  #source
  /** @type {Options & { previous?: any }} */
  #options
  #storage
  /** @type {Readonly<Progress>} */
  #progress
  /** @type {(result: Result) => void} */
  #resolve = () => {}
  /** @type {(error: UploadError) => void} */
  #reject = () => {}
  /** @type {Worker | undefined} */
  #worker
  /** @type {{ resolve: (fingerprint: string) => void, reject: (failure: any) => void } | undefined} */
  #opening
  /** @type {any} */
  #file
  #fingerprint = ''
  #uploads = ''
  #identity = ''
  #key = '' // of the record
  #begun = 0
  /** @type {object} what to create */
  #description = {}
  /** @type {Promise<void> | null} */
  #running = null
  #hasBegun = false // whether the worker has the upload
  #isPaused = false
  #isCancelled = false
  #isGuarding = false
  /** @type {() => void} */
  #releaseLock = () => {}
  #hasLock = false

  /**
   * The uploads that this browser has begun for the same identity and not finished, newest first. Waits for a service
   * that is away; rejects with an UploadError if it does not accept the token.
   * @param {Options} [options]
   * @returns {Promise<Previous[]>}
   */
  static async findPrevious(options = {}) {
    const storage = storageOf(options)
    const records = await recordsOf(options, storage)
    return records
      .filter(({ url, done }) => url && !done)
      .sort((a, b) => b.begun - a.begun)
      .map((record) => ({
        ...record,
        reopen: async (/** @type {File | null | undefined} */ file, /** @type {Options} */ more = {}) => {
          const source = file ?? record.handle
          if (!file && (await source?.requestPermission?.({ mode: 'read' })) === 'denied')
            throw new UploadError({ code: 'file-unreadable', message: SENTENCES.fileForbidden })
          const combined = { ...options, ...record.options, ...more, previous: record }
          return new Upload(source, combined)
        },
        forget: () => storage.remove(record.key),
      }))
  }

  /**
   * Forget the uploads of the same identity, as when somebody signs out. Pause those that run first.
   * @param {Options} [options]
   */
  static async forgetPrevious(options = {}) {
    const storage = storageOf(options)
    await Promise.all((await recordsOf(options, storage)).map(({ key }) => storage.remove(key)))
  }

  /**
   * @param {File | FileSystemFileHandle | null | undefined} source
   * @param {Options} [options]
   */
  constructor(source, options = {}) {
    super()
    this.#source = source
    this.#options = options
    this.#storage = storageOf(options)
    /** @type {UploadError | null} */
    this.error = null
    /** @type {Result | null} */
    this.result = null
    /** @type {string | null} */
    this.url = options.url ?? null
    this.#progress = {
      phase: 'new',
      size: (source && 'size' in source ? source : this.#options.previous)?.size ?? 0,
      durable: 0,
      sent: 0,
      fraction: 0,
      rate: 0,
      eta: null,
      lastError: null,
      document: null,
    }
    /**
     * Settles at the end; rejects with an UploadError. After a failure, start() replaces it.
     * @type {Promise<Result>}
     */
    this.done = this.#newDone()
  }

  get phase() {
    return this.#progress.phase
  }

  get progress() {
    return this.#progress
  }

  /** Start, or go on after a pause or a failure. */
  start() {
    if (this.phase === 'active' || this.phase === 'cancelled') return this
    this.#isPaused = this.#isCancelled = false
    if (this.phase === 'failed') this.done = this.#newDone()
    if (this.phase === 'paused' && this.#running)
      this.#report({ phase: this.#progress.lastError ? 'waiting' : 'preparing' })
    this.error = null
    this.#running ??= this.#run().catch((error) => this.#failToBegin(error))
    return this
  }

  resume() {
    return this.start()
  }

  pause() {
    if (isFinal(this.phase)) return
    this.#isPaused = true
    if (this.#hasBegun) this.#post({ event: { type: 'pause' } })
    else this.#report({ phase: 'paused' })
  }

  /** End the upload, here and at the service. */
  cancel() {
    if (this.phase === 'active' || this.phase === 'cancelled') return
    this.#isCancelled = true
    if (this.#hasBegun) this.#post({ event: { type: 'cancel' } })
    else this.#report({ phase: 'cancelled' })
  }

  /**
   * Iterate over the progress until the end; throws what `done` rejects with.
   * @returns {AsyncGenerator<Readonly<Progress>, void>}
   */
  async *[Symbol.asyncIterator]() {
    let notify = () => {}
    const change = () => new Promise((resolve) => (notify = () => resolve(null)))
    const listener = () => notify()
    let next = change()
    this.addEventListener('progress', listener)
    try {
      for (;;) {
        yield this.progress
        if (isFinal(this.phase)) {
          await this.done
          return
        }
        await next
        next = change()
      }
    } finally {
      this.removeEventListener('progress', listener)
    }
  }

  #newDone() {
    const done = new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
    done.catch(() => {}) // pages that do not await it learn of a failure by events
    return done
  }

  async #run() {
    this.#report({ phase: 'preparing', lastError: null })
    if (!this.#worker) await this.#open()
    if (!this.#hasBegun) await this.#identify()
    const hasWaited = await this.#lock()
    if (!this.#hasBegun && !this.#isCancelled) await this.#begin(hasWaited)
    if (this.#isCancelled && !this.#hasBegun) this.#release()
    else if (!this.#isPaused) this.#post({ event: { type: 'start' } })
    this.#running = null
  }

  /** Open the file in a worker, and check that it is the one that the upload was begun with. */
  async #open() {
    const { worker, previous, endpoint } = this.#options
    const source = this.#source
    const isSafe = previous?.received >= previous?.size // then nothing has to be read any more
    if (!source && !isSafe) throw { code: 'file-unreadable', message: SENTENCES.fileNeeded }
    const file = source ? await fileOf(source) : previous
    this.#file = file
    this.#worker = makeWorker(worker)
    this.#worker.onmessage = ({ data }) => this.#receive(data)
    this.#worker.onerror = (event) => {
      event.preventDefault?.()
      this.#receive({ error: { code: 'unhashed', message: event.message || SENTENCES.workerFailed } })
    }
    this.#fingerprint = await new Promise((resolve, reject) => {
      this.#opening = { resolve, reject }
      this.#post({ open: source ? file : { size: file.size, fingerprint: file.fingerprint } })
    })
    if (previous && previous.fingerprint !== this.#fingerprint)
      throw { code: 'file-changed', message: `${file.name} is not the file that was begun.` }
    this.#uploads = uploadsUrl(endpoint)
  }

  /** Find out whom the upload is for, and so which record is its own. */
  async #identify() {
    const { previous, url, image, image_id, store, digests } = this.#options
    this.#identity = await identify(this.#options, (why) => {
      if (this.#isCancelled) throw { code: 'cancelled', message: SENTENCES.cancelled }
      if (!this.#isPaused) this.#report({ phase: 'waiting', lastError: why })
    })
    if (this.phase === 'waiting') this.#report({ phase: 'preparing', lastError: null })
    if (previous && previous.identity !== this.#identity) throw { code: 'forbidden', message: SENTENCES.anotherOwner }
    const { name, size } = this.#file
    const target = image_id ? { image_id } : { image: { name, container_format: 'bare', ...image } }
    this.#description = { size, ...target, store, digests }
    // The same file for another image, or for somebody else, is another upload.
    const what = url ?? canonical(this.#description)
    this.#key = previous?.key ?? [this.#uploads, this.#identity, this.#fingerprint, what].join(' ')
  }

  /** Give the upload to the worker. @param {boolean} hasWaited  for another tab */
  async #begin(hasWaited) {
    const { previous, url, token, renewTicket } = this.#options
    const found = previous ?? (await this.#storage.get(this.#key))
    const record = found && (!found.done || hasWaited) ? found : null
    this.#begun = record?.begun ?? Date.now()
    this.#hasBegun = true
    this.#post({
      begin: {
        uploads: this.#uploads,
        url: url ?? record?.url,
        ticket: this.#options.ticket ?? record?.ticket,
        token: typeof token === 'function' ? true : token,
        renewTicket: !!renewTicket,
        description: this.#description,
        key: record?.idempotencyKey ?? String(crypto.getRandomValues(new Uint32Array(4))),
        recreate: !previous && !url,
        maxChunkSize: this.#options.largestChunk,
        maxParallel: this.#options.parallel,
        scanZeros: this.#options.zeros,
        stall: this.#options.stall,
      },
    })
  }

  /** Wait until nothing else goes on with this upload, here or in another tab; return whether one did. */
  async #lock() {
    const { locks } = globalThis.navigator ?? {}
    if (!locks || this.#hasLock) return false
    /** @param {LockOptions} options @returns {Promise<boolean>} */
    const request = (options) =>
      new Promise((resolve) => {
        locks.request(`resumable-glance ${this.#key}`, options, (lock) => {
          this.#hasLock = !!lock
          resolve(this.#hasLock)
          return lock && new Promise((release) => (this.#releaseLock = () => release(null)))
        })
      })
    if (await request({ ifAvailable: true })) return false
    this.#report({ phase: 'waiting', lastError: SENTENCES.anotherTab })
    return request({})
  }

  /** @param {import('../core/worker_protocol.js').ToWorker} message */
  #post(message) {
    this.#worker?.postMessage(message)
  }

  /** @param {any} message  ToPage of core/worker_protocol.js */
  async #receive({ opened, progress, url, error, isUnsafe, save, forget, finish, ask, what }) {
    if (opened) this.#opening?.resolve(opened)
    else if (save) this.#save(save)
    else if (forget) this.#storage.remove(this.#key)
    else if (finish) this.#finish(finish)
    else if (what) await this.#reply(ask, what, url)
    else {
      this.#opening?.reject(error)
      if (error) this.error = new UploadError(error)
      if (url) this.url = url
      if (error && !progress) this.#running = null
      this.#report(progress ?? { phase: 'failed' }, isUnsafe)
    }
  }

  /** @param {number} id @param {'token' | 'renewTicket'} what @param {string} url */
  async #reply(id, what, url) {
    try {
      this.#post({ reply: id, value: await /** @type {any} */ (this.#options)[what](url) })
    } catch (error) {
      this.#post({ reply: id, error: String(/** @type {any} */ (error)?.message ?? error) })
    }
  }

  /** @param {any} record */
  #save({ url, ticket, idempotencyKey, durable, document }) {
    const { endpoint, image, store } = this.#options
    this.#storage.put({
      key: this.#key,
      identity: this.#identity,
      idempotencyKey,
      url,
      ticket,
      name: this.#file.name,
      size: this.#file.size,
      fingerprint: this.#fingerprint,
      begun: this.#begun,
      handle: this.#source && 'getFile' in this.#source ? this.#source : undefined,
      options: { endpoint, image, store },
      received: durable,
      // At least a week: the service's time is that of an upload without a byte at first, and moves with each chunk.
      expires: Math.max(Date.parse(document?.expires_at) || 0, Date.now() + WEEK),
    })
  }

  /** Keep a record for a while, so that a tab that waits for this one finds the result. @param {any} record */
  #finish({ url, ticket, document, receipt, md5 }) {
    const expires = Date.now() + FINISHED_TTL
    this.#storage.put({ key: this.#key, identity: this.#identity, url, ticket, done: true, expires })
    const { id, image, size, hashes } = document
    this.result = { id, url, image, size, hashes, md5, receipt }
  }

  /** @param {Partial<Progress>} news @param {boolean} [isUnsafe] */
  #report(news, isUnsafe = false) {
    const before = this.phase
    this.#progress = { ...this.#progress, ...news }
    this.#guard(isUnsafe)
    if (this.phase !== before) this.#dispatch('phase')
    this.#dispatch('progress')
    if (isFinal(this.phase) && this.phase !== before) this.#end()
  }

  /** @param {any} error */
  #failToBegin(error) {
    if (this.#isCancelled) return
    if (!this.#hasBegun) this.#release()
    this.#receive({ error })
  }

  /** Let go of the worker and the lock. */
  #release() {
    this.#unlock()
    this.#worker?.terminate()
    this.#worker = undefined
  }

  #unlock() {
    this.#releaseLock()
    this.#hasLock = false
  }

  #end() {
    this.#unlock()
    if (this.phase === 'cancelled') this.error ??= new UploadError({ code: 'cancelled', message: SENTENCES.cancelled })
    if (this.result && this.phase === 'active') this.#resolve(this.result)
    else if (this.error) this.#reject(this.error)
    if (this.phase !== 'failed') this.#release()
    this.#dispatch('end')
  }

  /** @param {'progress' | 'phase' | 'end'} type */
  #dispatch(type) {
    this.dispatchEvent(Object.assign(new Event(type), { progress: this.progress }))
  }

  #askBeforeLeaving = (/** @type {Event} */ event) => event.preventDefault()

  /** While bytes are not safe, let the browser ask before it leaves the page. @param {boolean} isUnsafe */
  #guard(isUnsafe) {
    if (isUnsafe === this.#isGuarding || this.#options.guard === false) return
    this.#isGuarding = isUnsafe
    globalThis[isUnsafe ? 'addEventListener' : 'removeEventListener']?.('beforeunload', this.#askBeforeLeaving)
  }
}

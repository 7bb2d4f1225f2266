// What a page has in hand: one file on its way. Remembers it, keeps other tabs from it, and tells how far it is.
// The work is done in a worker (engine.js), which is loaded when it is needed first.

import { UploadError } from './errors.js'
import { careful, indexedDb, memory } from './storage.js'

const HERE = globalThis.document?.currentScript?.src || import.meta.url
const WEEK = 7 * 24 * 3600e3 // milliseconds, the service's own default
const WHILE = 600e3 // milliseconds for which another tab can see that it is done
const OVER = ['active', 'failed', 'cancelled']

const kept = ({ storage }) => careful(storage ?? (globalThis.indexedDB ? indexedDb() : memory()))

const address = (endpoint) =>
  `${new URL(endpoint ?? '/', globalThis.location?.href).href.replace(/\/+$/, '')}/v1/uploads`

const fileOf = async (source) => {
  try {
    return source.getFile ? await source.getFile() : source
  } catch ({ message }) {
    throw { code: 'file-unreadable', message }
  }
}

export class Upload extends EventTarget {
  /** Uploads that this browser has begun and not ended, the newest first. */
  static async findPrevious(options = {}) {
    const storage = kept(options)
    const records = (await storage.all()).filter((each) => each.url && !each.done)
    return records
      .sort((a, b) => b.begun - a.begun)
      .map((record) => ({
        ...record,
        /** The upload, to be started; with a `file` that is picked again unless the browser has kept a handle. */
        reopen: async (file, more = {}) => {
          const source = file ?? record.handle
          if (!file && (await source?.requestPermission?.({ mode: 'read' })) === 'denied')
            throw new UploadError({ code: 'file-unreadable', message: 'The browser may not read the file.' })
          return new Upload(source, { ...options, ...record.options, ...more, previous: record })
        },
        forget: () => storage.remove(record.key),
      }))
  }

  constructor(source, options = {}) {
    super()
    this._source = source
    this._options = options
    this._storage = kept(options)
    this.error = null
    this.result = null
    this.url = options.url ?? null
    this._told = {
      phase: 'new',
      size: (source ?? options.previous)?.size ?? 0,
      durable: 0,
      sent: 0,
      fraction: 0,
      rate: 0,
      eta: null,
      trouble: null,
      document: null,
    }
    this._renew()
    this._guard = (event) => event.preventDefault()
  }

  get phase() {
    return this._told.phase
  }

  /** { phase, size, durable, sent, fraction, rate, eta, trouble, document }; bytes and seconds. */
  get progress() {
    return this._told
  }

  /** Begin, or go on after a pause or a failure. */
  start() {
    if (this.phase === 'active' || this.phase === 'cancelled') return this
    this._paused = this._cancelled = false
    if (this.phase === 'failed') this._renew()
    if (this.phase === 'paused' && this._running) this._tell({ phase: this._told.trouble ? 'waiting' : 'preparing' })
    this.error = null
    this._running ??= this._run().catch((error) => this._broken(error))
    return this
  }

  resume() {
    return this.start()
  }

  pause() {
    if (OVER.includes(this.phase)) return
    this._paused = true
    if (this._driven) this._post({ event: { type: 'pause' } })
    else this._tell({ phase: 'paused' })
  }

  /** End it, here and at the service. */
  cancel() {
    if (this.phase === 'active' || this.phase === 'cancelled') return
    this._cancelled = true
    if (this._driven) this._post({ event: { type: 'cancel' } })
    else this._tell({ phase: 'cancelled' })
  }

  /** Progress, whenever there is some, until the end; throws what `done` throws. */
  async *[Symbol.asyncIterator]() {
    let hear
    const news = () => new Promise((resolve) => (hear = resolve))
    const listen = () => hear()
    let next = news()
    this.addEventListener('progress', listen)
    try {
      for (;;) {
        yield this.progress
        if (OVER.includes(this.phase)) return void (await this.done)
        await next
        next = news()
      }
    } finally {
      this.removeEventListener('progress', listen)
    }
  }

  _renew() {
    this.done = new Promise((resolve, reject) => Object.assign(this, { _resolve: resolve, _reject: reject }))
    this.done.catch(() => {}) // who does not look at it hears of a failure by an event
  }

  async _run() {
    this._tell({ phase: 'preparing', trouble: null })
    if (!this._worker) await this._open()
    const waited = await this._alone()
    if (!this._driven && !this._cancelled) await this._drive(waited)
    if (this._cancelled && !this._driven) this._leave()
    else if (!this._paused) this._post({ event: { type: 'start' } })
    this._running = null
  }

  /** The file, and what tells it from others. */
  async _open() {
    const { worker, previous, endpoint } = this._options
    const source = this._source
    const safe = previous?.received >= previous?.size // then nothing has to be read any more
    if (!source && !safe) throw { code: 'file-unreadable', message: 'The file has to be chosen again.' }
    const file = source ? await fileOf(source) : { ...previous, print: previous.fingerprint }
    this._file = file
    this._worker =
      typeof worker === 'function' ? worker() : new Worker(worker ?? new URL('resumable-glance.worker.js', HERE))
    this._worker.onmessage = ({ data }) => this._hear(data)
    this._print = await new Promise((resolve, reject) => {
      this._opened = { resolve, reject }
      this._worker.onerror = (event) => {
        event.preventDefault?.()
        this._hear({ error: { code: 'unhashed', message: event.message || 'The worker could not be started.' } })
      }
      this._post({ open: source ? file : { size: file.size, print: file.print } })
    })
    if (previous && previous.fingerprint !== this._print)
      throw { code: 'file-changed', message: `${file.name} is not the file that was begun.` }
    this._key = `${(this._uploads = address(endpoint))} ${this._print}`
  }

  async _drive(waited) {
    const {
      previous,
      endpoint,
      url,
      image,
      image_id,
      store,
      digests,
      token,
      ticket,
      renewTicket,
      largestChunk,
      parallel,
      zeros,
      stall,
    } = this._options
    const found = previous ?? (await this._storage.get(this._key))
    const record = found && (!found.done || waited) && (!url || url === found.url) ? found : null
    this._begun = record?.begun ?? Date.now()
    this._about = { endpoint, image, store }
    const same = JSON.stringify(record?.options) === JSON.stringify(this._about) // else it would not be the same creation
    const key = (same && record.claim) || String(crypto.getRandomValues(new Uint32Array(4)))
    const { name, size } = this._file
    const what = image_id ? { image_id } : { image: { name, container_format: 'bare', ...image } }
    this._driven = true
    this._post({
      drive: {
        url: url ?? record?.url,
        ticket: ticket ?? record?.ticket,
        description: { size, ...what, store, digests },
        key,
        anew: !previous && !url,
        token: typeof token === 'function' || token,
        renewTicket: !!renewTicket,
        uploads: this._uploads,
        largest: largestChunk,
        parallel,
        zeros,
        stall,
      },
    })
  }

  /** Until no other tab uploads this file. True if one did. */
  async _alone() {
    const { locks } = globalThis.navigator ?? {}
    if (!locks || this._release) return false
    const ask = (how) =>
      new Promise((got) => {
        const hold = (lock) => (got(!!lock), lock && new Promise((release) => (this._release = release)))
        locks.request(`resumable-glance ${this._key}`, how, hold)
      })
    if (await ask({ ifAvailable: true })) return false
    this._tell({ phase: 'waiting', trouble: 'Another tab uploads this file.' })
    return ask({})
  }

  _post(message) {
    this._worker.postMessage(message)
  }

  // What the worker tells

  async _hear({ opened, progress, url, error, unsafe, save, forget, finish, ask, what }) {
    if (opened) this._opened.resolve(opened)
    else if (save) this._save(save)
    else if (forget) this._storage.remove(this._key)
    else if (finish) this._finish(finish)
    else if (what) await this._reply(ask, what, url)
    else {
      this._opened?.reject(error)
      if (error) this.error = new UploadError(error)
      if (url) this.url = url
      if (error && !progress) this._running = null
      this._tell(progress ?? { phase: 'failed' }, unsafe)
    }
  }

  async _reply(id, what, url) {
    try {
      this._post({ reply: id, value: await this._options[what](url) })
    } catch (error) {
      this._post({ reply: id, error: String(error?.message ?? error) })
    }
  }

  _save({ url, ticket, claim, durable, document }) {
    this._storage.put({
      key: this._key,
      claim,
      url,
      ticket,
      name: this._file.name,
      size: this._file.size,
      fingerprint: this._print,
      begun: this._begun,
      handle: this._source?.getFile ? this._source : undefined,
      options: this._about,
      received: durable,
      expires: Date.parse(document?.expires_at) || Date.now() + WEEK,
    })
  }

  /** For a while a tab that waits for this one still finds what has come of it. */
  _finish({ url, ticket, document, receipt, md5 }) {
    this._storage.put({ key: this._key, url, ticket, done: true, expires: Date.now() + WHILE })
    const { id, image, size, hashes } = document
    this.result = { id, url, image, size, hashes, md5, receipt }
  }

  _tell(news, unsafe = false) {
    const before = this.phase
    this._told = { ...this._told, ...news }
    this._watch(unsafe)
    if (this.phase !== before) this._dispatch('phase')
    this._dispatch('progress')
    if (OVER.includes(this.phase) && this.phase !== before) this._over()
  }

  _broken(error) {
    if (!this._driven) this._leave()
    this._hear({ error })
  }

  _leave() {
    this._release = this._release?.()
    this._worker = this._worker?.terminate()
  }

  _over() {
    this._release = this._release?.()
    if (this.phase === 'cancelled')
      this.error ??= new UploadError({ code: 'cancelled', message: 'The upload was cancelled.' })
    if (this.phase === 'active') this._resolve(this.result)
    else this._reject(this.error)
    if (this.phase !== 'failed') this._leave()
    this._dispatch('end')
  }

  _dispatch(type) {
    this.dispatchEvent(Object.assign(new Event(type), { progress: this.progress }))
  }

  /** While bytes are not safe, the browser asks before it leaves the page. */
  _watch(wanted) {
    if (wanted === !!this._watching || this._options.guard === false) return
    this._watching = wanted
    globalThis[wanted ? 'addEventListener' : 'removeEventListener']?.('beforeunload', this._guard)
  }
}

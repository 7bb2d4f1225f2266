// Two hashing jobs on one file, one after the other. Chunks come first, because the network waits for them; between
// them the whole file is read in order.

/** @typedef {import('./chunker.js').Chunker} Chunker */

const UNREADABLE = ['NotReadableError', 'NotFoundError']

/** @param {any} error @returns {import('../core/vocabulary.js').Failure} */
const failureOf = ({ name, message }) => ({
  code: UNREADABLE.includes(name) ? 'file-unreadable' : 'unhashed',
  message: String(message),
})

export class HashQueue {
  #chunker
  #onFileHashed
  #onFailed
  /** @type {(() => Promise<void>)[]} */
  #queue = []
  #isRunning = false

  /**
   * @param {Chunker} chunker
   * @param {(md5: string) => void} onFileHashed  called with the md5 of the whole file, base64
   * @param {(failure: import('../core/vocabulary.js').Failure) => void} onFailed  called when the whole file cannot be read
   */
  constructor(chunker, onFileHashed, onFailed) {
    this.#chunker = chunker
    this.#onFileHashed = onFileHashed
    this.#onFailed = onFailed
  }

  /**
   * Hash the pieces of a region; see Chunker.hash. Rejects with { code, message }.
   * @param {Parameters<Chunker['hash']>[0]} region
   */
  hash(region) {
    return this.#enqueue(() => this.#chunker.hash(region))
  }

  fingerprint() {
    return this.#enqueue(() => this.#chunker.fingerprint())
  }

  /**
   * @template T
   * @param {() => Promise<T>} job
   * @returns {Promise<T>}
   */
  #enqueue(job) {
    return new Promise((resolve, reject) => {
      this.#queue.push(() => job().then(resolve, (error) => reject(failureOf(error))))
      this.#run()
    })
  }

  async #run() {
    if (this.#isRunning) return
    this.#isRunning = true
    while (this.#queue.length || this.#chunker.isReading) await (this.#queue.shift() ?? (() => this.#readOn()))()
    this.#isRunning = false
  }

  async #readOn() {
    try {
      const md5 = await this.#chunker.readOn()
      if (md5) this.#onFileHashed(md5)
    } catch (error) {
      this.#onFailed(failureOf(error))
    }
  }
}

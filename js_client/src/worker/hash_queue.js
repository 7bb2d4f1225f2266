// Hashes a file in two ways at a time. Chunks come first, since the link waits for them; between them the whole file is
// read on, in file order.

const codeOf = ({ name }) => (name === 'NotReadableError' || name === 'NotFoundError' ? 'file-unreadable' : 'unhashed')

export class Hashing {
  /** `whole` is called with the md5 of all of the file, or with undefined and why there is none. */
  constructor(reader, whole) {
    this._reader = reader
    this._whole = whole
    this._queue = []
  }

  /** Digests of the pieces of a region; see Reader.hash. Rejects with { code, message }. */
  hash(region) {
    return this._ask(() => this._reader.hash(region))
  }

  sample() {
    return this._ask(() => this._reader.sample())
  }

  _ask(work) {
    return new Promise((resolve, reject) => {
      this._queue.push(() => work().then(resolve, (error) => reject({ code: codeOf(error), message: error.message })))
      this._work()
    })
  }

  async _work() {
    if (this._busy) return
    this._busy = true
    while (this._queue.length || this._reader.reading) await (this._queue.shift() ?? (() => this._readOn()))()
    this._busy = false
  }

  async _readOn() {
    try {
      const md5 = await this._reader.readOn()
      if (md5) this._whole(md5)
    } catch (error) {
      this._whole(undefined, { code: codeOf(error), message: error.message })
    }
  }
}

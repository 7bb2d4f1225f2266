// One file, hashed: each chunk by itself, and all of it in order. Knows nothing of workers.

import { createMD5 } from 'hash-wasm'

const KIB = 1024
const MIB = 1024 * KIB
const BLOCK = 64 * KIB // bytes that are empty or not
const STEP = 4 * MIB // bytes that are in memory at a time
const SHORTEST = MIB // bytes: a shorter run of zeros is not worth a request of its own
const SAMPLE = 64 * KIB
const NOUGHT = new Uint8Array(BLOCK)

const base64 = (bytes) => btoa(String.fromCharCode(...bytes))

export const isEmpty = (bytes) => {
  const words = new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length >> 2)
  for (let at = 0; at < words.length; at++) if (words[at]) return false
  for (let at = words.length * 4; at < bytes.length; at++) if (bytes[at]) return false
  return true
}

export class Reader {
  static async open(file) {
    return new Reader(file, await createMD5(), await createMD5())
  }

  constructor(file, whole, piece) {
    this.file = file
    this.reading = false // whether the whole file is wanted, and not read to its end
    this.md5 = null
    this.position = 0 // the whole digest has everything before it
    this._whole = whole.init()
    this._piece = piece
  }

  /** md5 of the first, the middle and the last 64 KiB, in hexadecimal: whether it is the same file. */
  async sample() {
    const { size } = this.file
    const samples = (await createMD5()).init()
    for (const start of new Set([0, Math.floor(size / 2), Math.max(0, size - SAMPLE)]))
      samples.update(await this._read(start, Math.min(size, start + SAMPLE)))
    return samples.digest()
  }

  /**
   * The pieces that fill a region: { start, stop, md5 }, of at most `chunk` bytes, or { start, stop, zeros: true }. Of a
   * region longer than `chunk`, which is looked through for zeros, only those up to the first that is not empty: how
   * long the next ones may be shows later.
   */
  async hash({ start, stop, chunk, zeros }) {
    this.reading ||= !this.md5
    const cutter = new Cutter(this._piece, start, chunk)
    const looks = stop - start > chunk
    for (let at = start; at < stop; at += STEP) {
      const bytes = await this._read(at, Math.min(stop, at + STEP))
      if (at <= this.position && this.position < at + bytes.length) this._follow(bytes.subarray(this.position - at))
      for (let from = 0; from < bytes.length; from += BLOCK) {
        const block = bytes.subarray(from, from + BLOCK)
        if (zeros && isEmpty(block)) cutter.zeros(block.length)
        else cutter.bytes(block)
        if (looks && cutter.pieces.at(-1)?.md5) return cutter.pieces
      }
    }
    return cutter.end()
  }

  /** Take the whole digest a step further. The md5 of the whole file once it is there, and then no more. */
  async readOn() {
    this.reading = false // whatever fails
    if (!this.md5) this._follow(await this._read(this.position, Math.min(this.file.size, this.position + STEP)))
    this.reading = !this.md5
    return this.md5
  }

  _follow(bytes) {
    if (this.md5) return
    this._whole.update(bytes)
    this.position += bytes.length
    if (this.position >= this.file.size) this.md5 = base64(this._whole.digest('binary'))
  }

  async _read(start, stop) {
    const bytes = new Uint8Array(await this.file.slice(start, stop).arrayBuffer())
    if (bytes.length < stop - start)
      throw Object.assign(new Error('The file has become shorter.'), { name: 'NotReadableError' })
    return bytes
  }
}

/** Cuts what comes into pieces. Zeros are held back until it is clear whether they are a run. */
class Cutter {
  constructor(md5, start, chunk) {
    this._md5 = md5
    this._chunk = chunk
    this.pieces = []
    this._start = start // of the piece that grows
    this._length = 0
    this._held = 0 // zeros after it
  }

  zeros(length) {
    this._held += length
  }

  bytes(block) {
    this._release(SHORTEST)
    this._add(block)
  }

  end() {
    this._release(this.pieces.length || this._length ? SHORTEST : 1)
    this._close()
    return this.pieces
  }

  /** What is held becomes a run if it is long enough, else a part of the piece. */
  _release(shortest) {
    const held = this._held
    this._held = 0
    if (held >= shortest) {
      this._close()
      this.pieces.push({ start: this._start, stop: this._start + held, zeros: true })
      this._start += held
    } else for (let left = held; left > 0; left -= BLOCK) this._add(NOUGHT.subarray(0, Math.min(left, BLOCK)))
  }

  _add(block) {
    if (this._length + block.length > this._chunk) this._close()
    if (!this._length) this._md5.init()
    this._md5.update(block)
    this._length += block.length
  }

  _close() {
    if (!this._length) return
    const stop = this._start + this._length
    this.pieces.push({ start: this._start, stop, md5: base64(this._md5.digest('binary')) })
    this._start = stop
    this._length = 0
  }
}

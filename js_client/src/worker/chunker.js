// Reads a file: cuts regions into chunks and runs of zeros, and computes md5 of each chunk and of the whole file.

import { createMD5 } from 'hash-wasm'

/** @typedef {import('hash-wasm').IHasher} Hasher */
/** @typedef {Omit<import('../core/scheduling.js').Piece, 'stage'>} Piece */

const KIB = 1024
const MIB = 1024 * KIB
const BLOCK = 64 * KIB // bytes; zeros are recognised in whole blocks
const STEP = 4 * MIB // bytes in memory at a time
const MIN_RUN = MIB // bytes; a shorter run of zeros is not worth a request of its own
const SAMPLE = 64 * KIB
const ZEROS = new Uint8Array(BLOCK)

/** @param {Uint8Array} bytes */
const base64 = (bytes) => btoa(String.fromCharCode(...bytes))

/** @param {Uint8Array} bytes */
export const isEmpty = (bytes) => {
  const words = new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length >> 2)
  for (let at = 0; at < words.length; at++) if (words[at]) return false
  for (let at = words.length * 4; at < bytes.length; at++) if (bytes[at]) return false
  return true
}

export class Chunker {
  #file
  #fileHasher
  #chunkHasher
  #position = 0 // bytes that the digest of the whole file covers
  /** @type {string | null} */
  #fileMd5 = null

  /** Whether readOn() has more to do. */
  isReading = false

  /** @param {Blob} file */
  static async open(file) {
    return new Chunker(file, await createMD5(), await createMD5())
  }

  /** @param {Blob} file @param {Hasher} fileHasher @param {Hasher} chunkHasher */
  constructor(file, fileHasher, chunkHasher) {
    this.#file = file
    this.#fileHasher = fileHasher.init()
    this.#chunkHasher = chunkHasher
  }

  /** Return the md5 (hexadecimal) of the first, the middle and the last 64 KiB, to recognise the file. */
  async fingerprint() {
    const { size } = this.#file
    const hasher = (await createMD5()).init()
    for (const start of new Set([0, Math.floor(size / 2), Math.max(0, size - SAMPLE)]))
      hasher.update(await this.#read(start, Math.min(size, start + SAMPLE)))
    return hasher.digest()
  }

  /**
   * Cut a region into chunks of at most `chunkSize` bytes and, if wanted, runs of zeros.
   *
   * A region longer than `chunkSize` is scanned for zeros: only the pieces up to its first chunk are returned, for the
   * size of later chunks may change until they are needed.
   * @param {{ start: number, stop: number, chunkSize: number, zeros: boolean }} region
   * @returns {Promise<Piece[]>}
   */
  async hash({ start, stop, chunkSize, zeros }) {
    this.isReading ||= !this.#fileMd5
    const cutter = new Cutter(this.#chunkHasher, start, chunkSize)
    const isScan = stop - start > chunkSize
    for (let at = start; at < stop; at += STEP) {
      const bytes = await this.#read(at, Math.min(stop, at + STEP))
      if (at <= this.#position && this.#position < at + bytes.length)
        this.#hashFile(bytes.subarray(this.#position - at))
      for (let from = 0; from < bytes.length; from += BLOCK) {
        const block = bytes.subarray(from, from + BLOCK)
        if (zeros && isEmpty(block)) cutter.addZeros(block.length)
        else cutter.addBytes(block)
        if (isScan && cutter.pieces.at(-1)?.md5) return cutter.pieces
      }
    }
    return cutter.finish()
  }

  /** Hash the next part of the whole file. Return its md5 (base64) once that is complete, and null before. */
  async readOn() {
    this.isReading = false // stays so if reading fails
    if (!this.#fileMd5)
      this.#hashFile(await this.#read(this.#position, Math.min(this.#file.size, this.#position + STEP)))
    this.isReading = !this.#fileMd5
    return this.#fileMd5
  }

  /** @param {Uint8Array} bytes */
  #hashFile(bytes) {
    if (this.#fileMd5) return
    this.#fileHasher.update(bytes)
    this.#position += bytes.length
    if (this.#position >= this.#file.size) this.#fileMd5 = base64(this.#fileHasher.digest('binary'))
  }

  /** @param {number} start @param {number} stop */
  async #read(start, stop) {
    const bytes = new Uint8Array(await this.#file.slice(start, stop).arrayBuffer())
    if (bytes.length < stop - start)
      throw Object.assign(new Error('The file has become shorter.'), { name: 'NotReadableError' })
    return bytes
  }
}

/** Cuts what is added into pieces. Zeros are held back until it is clear whether they are a run. */
class Cutter {
  #hasher
  #chunkSize
  #start // of the chunk that grows
  #length = 0 // of that chunk
  #heldZeros = 0 // bytes after that chunk
  /** @type {Piece[]} */
  pieces = []

  /** @param {Hasher} hasher @param {number} start @param {number} chunkSize */
  constructor(hasher, start, chunkSize) {
    this.#hasher = hasher
    this.#start = start
    this.#chunkSize = chunkSize
  }

  /** @param {number} length */
  addZeros(length) {
    this.#heldZeros += length
  }

  /** @param {Uint8Array} block */
  addBytes(block) {
    this.#releaseZeros(MIN_RUN)
    this.#append(block)
  }

  finish() {
    this.#releaseZeros(this.pieces.length || this.#length ? MIN_RUN : 1)
    this.#endChunk()
    return this.pieces
  }

  /** Make held zeros a run if there are enough of them, else a part of the chunk. @param {number} minRun */
  #releaseZeros(minRun) {
    const held = this.#heldZeros
    this.#heldZeros = 0
    if (held >= minRun) {
      this.#endChunk()
      this.pieces.push({ start: this.#start, stop: this.#start + held, zeros: true })
      this.#start += held
    } else for (let left = held; left > 0; left -= BLOCK) this.#append(ZEROS.subarray(0, Math.min(left, BLOCK)))
  }

  /** @param {Uint8Array} block */
  #append(block) {
    if (this.#length + block.length > this.#chunkSize) this.#endChunk()
    if (!this.#length) this.#hasher.init()
    this.#hasher.update(block)
    this.#length += block.length
  }

  #endChunk() {
    if (!this.#length) return
    const stop = this.#start + this.#length
    this.pieces.push({ start: this.#start, stop, md5: base64(this.#hasher.digest('binary')) })
    this.#start = stop
    this.#length = 0
  }
}

// Hashing of files: md5 as Node computes it, and pieces that fill their region.

import assert from 'node:assert/strict'
import { Blob } from 'node:buffer'
import { test } from 'node:test'
import fc from 'fast-check'
import { HashQueue } from '../src/worker/hash_queue.js'
import { Chunker, isEmpty } from '../src/worker/chunker.js'
import { md5 } from './model.js'

const KIB = 1024
const MIB = 1024 * KIB

const disk = (runs, tail) =>
  Buffer.concat([...runs.map(([blocks, fill]) => Buffer.alloc(blocks * 64 * KIB, fill)), Buffer.alloc(tail, 5)])

test('pieces fill their region, with the right md5 and only true zeros', async () => {
  const runs = fc.array(fc.tuple(fc.integer({ min: 1, max: 40 }), fc.constantFrom(0, 0, 1, 2)), { maxLength: 8 })
  const property = fc.asyncProperty(
    runs,
    fc.nat(70_000),
    fc.nat(),
    fc.constantFrom(256 * KIB, 4 * MIB),
    fc.boolean(),
    async (shape, tail, cut, chunk, zeros) => {
      const content = disk(shape, tail)
      if (!content.length) return
      const chunker = await Chunker.open(new Blob([content]))
      const start = cut % content.length
      const pieces = await chunker.hash({ start, stop: content.length, chunkSize: chunk, zeros })
      let at = start
      for (const piece of pieces) {
        assert.equal(piece.start, at)
        const bytes = content.subarray(piece.start, piece.stop)
        if (piece.zeros) assert.ok(zeros && isEmpty(new Uint8Array(bytes)))
        else assert.equal(piece.md5, md5(bytes))
        assert.ok(piece.zeros || bytes.length <= chunk)
        at = piece.stop
      }
      if (content.length - start <= chunk) assert.equal(at, content.length)
      assert.ok(at === content.length || pieces.some((each) => each.md5))
      let whole = null
      while (!whole) whole = await chunker.readOn()
      assert.equal(whole, md5(content))
    },
  )
  await fc.assert(property, { numRuns: 60 })
})

test('only a run of zeros of 1 MiB or more is a piece of its own', async () => {
  const content = disk(
    [
      [1, 1],
      [15, 0],
      [1, 1],
      [16, 0],
      [1, 1],
    ],
    0,
  )
  const chunker = await Chunker.open(new Blob([content]))
  const pieces = await chunker.hash({ start: 0, stop: content.length, chunkSize: 4 * MIB, zeros: true })
  assert.deepEqual(
    pieces.map((each) => [each.start / KIB / 64, each.stop / KIB / 64, !!each.zeros]),
    [
      [0, 17, false],
      [17, 33, true],
      [33, 34, false],
    ],
  )
})

test('a scan for zeros ends at the first chunk', async () => {
  const content = disk(
    [
      [160, 0],
      [200, 1],
    ],
    0,
  )
  const chunker = await Chunker.open(new Blob([content]))
  const pieces = await chunker.hash({ start: 0, stop: content.length, chunkSize: MIB, zeros: true })
  assert.deepEqual(
    pieces.map((each) => [each.start / MIB, each.stop / MIB, !!each.zeros]),
    [
      [0, 10, true],
      [10, 11, false],
    ],
  )
})

test('one other byte, anywhere, makes a block not empty', () => {
  for (const size of [0, 1, 3, 4, 5, 64, 65_537]) {
    assert.ok(isEmpty(new Uint8Array(size)))
    for (const at of new Set([0, size >> 1, size - 1])) {
      if (at < 0 || at >= size) continue
      const bytes = new Uint8Array(size)
      bytes[at] = 1
      assert.ok(!isEmpty(bytes))
    }
  }
})

test('the fingerprint depends on the first, middle and last bytes', async () => {
  const content = disk([[100, 1]], 77)
  const sample = async (bytes) => (await Chunker.open(new Blob([bytes]))).fingerprint()
  const found = new Set([await sample(content)])
  for (const at of [0, content.length >> 1, content.length - 1]) {
    const changed = Buffer.from(content)
    changed[at] ^= 1
    found.add(await sample(changed))
  }
  assert.equal(found.size, 4)
})

test('chunks are hashed before the rest of the file', async () => {
  const content = disk([[400, 3]], 1)
  const told = []
  const whole = new Promise((resolve) => {
    const hashing = Chunker.open(new Blob([content])).then((chunker) => new HashQueue(chunker, resolve))
    hashing.then(async (each) => {
      const asked = [8, 4, 0].map((at) => each.hash({ start: at * MIB, stop: (at + 1) * MIB, chunkSize: MIB }))
      for (const [piece] of await Promise.all(asked)) told.push(piece.md5)
    })
  })
  assert.equal(await whole, md5(content))
  assert.deepEqual(
    told,
    [8, 4, 0].map((at) => md5(content.subarray(at * MIB, (at + 1) * MIB))),
  )
})

test('an unreadable or shortened file is reported as unreadable', async () => {
  const gone = {
    size: 100,
    slice: () => ({
      arrayBuffer: () => Promise.reject(Object.assign(new Error('gone'), { name: 'NotReadableError' })),
    }),
  }
  const shorter = { size: 100, slice: () => new Blob(['x']) }
  for (const file of [gone, shorter]) {
    const hashing = new HashQueue(await Chunker.open(file), assert.fail, () => {})
    await assert.rejects(hashing.hash({ start: 0, stop: 50, chunkSize: 50 }), { code: 'file-unreadable' })
  }
})

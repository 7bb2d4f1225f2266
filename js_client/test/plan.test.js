// The plan against the model of the service, in any order of events, with whatever can go wrong.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { classify } from '../src/core/failures.js'
import { begin, plan } from '../src/core/plan.js'
import { merge, missing } from '../src/core/ranges.js'
import { durableBytes, fractionOf, isUnsafe } from '../src/core/status.js'
import { makeRequest, readAnswer } from '../src/core/messages.js'
import { Model, md5, problem } from './model.js'

const KIB = 1024
const MIB = 1024 * KIB
const NOUGHT = Buffer.alloc(256 * KIB)

/** A file of blocks of 256 KiB, some of them zeros. */
const content = (blocks, tail) =>
  Buffer.concat([
    ...blocks.map((each, at) => Buffer.alloc(256 * KIB, each ? (at % 250) + 1 : 0)),
    Buffer.alloc(tail, 7),
  ])

/** The pieces of a region as a hasher makes them: cut wherever zeros begin or end. */
const hashed = (file, { start, stop, chunkSize, zeros }) => {
  const pieces = []
  const block = 256 * KIB
  for (let at = start; at < stop; at += block) {
    const bytes = file.subarray(at, Math.min(stop, at + block))
    const empty = zeros && bytes.equals(NOUGHT.subarray(0, bytes.length))
    const last = pieces.at(-1)
    if (last && !!last.zeros === empty && (empty || last.stop + bytes.length - last.start <= chunkSize))
      last.stop += bytes.length
    else pieces.push({ start: at, stop: at + bytes.length, ...(empty && { zeros: true }) })
  }
  return pieces.map((each) => (each.zeros ? each : { ...each, md5: md5(file.subarray(each.start, each.stop)) }))
}

/** An upload under the plan: effects wait in `pending` until `happens` completes one. */
class World {
  constructor(file, model, { owner = true, ...options } = {}) {
    Object.assign(this, { file, model, owner, token: 'token' })
    this.state = begin({ size: file.length, ...options })
    this.pending = []
    this.ticket = null
    this.durable = 0
    this.finished = 0
    this.high = 0
  }

  send(event) {
    const before = this.state
    const frozen = JSON.stringify(before)
    const [state, effects] = plan(before, event)
    assert.equal(JSON.stringify(before), frozen, 'a state was changed in place')
    this.state = state
    for (const effect of effects) {
      if (effect.do === 'abort') this.pending = []
      else if (effect.do === 'finish') this.finished += 1
      else if (effect.do === 'wait') this.pending = [...this.pending.filter((each) => each.do !== 'wait'), effect]
      else if (!['save', 'forget'].includes(effect.do)) this.pending.push(effect)
    }
    this.check(before)
  }

  check(before) {
    const { state } = this
    const sending = state.pieces.filter((each) => each.stage === 'sending')
    const spans = sending.map((each) => [each.start, each.stop])
    assert.equal(
      merge(spans).length <= spans.length && covered(merge(spans)),
      covered(spans),
      'chunks that are sent overlap',
    )
    assert.ok(sending.length <= state.maxParallel)
    const news = sending.filter((each) =>
      before.pieces.every((old) => old.start !== each.start || old.stage !== 'sending'),
    )
    assert.ok(news.every((each) => each.zeros || each.stop - each.start <= state.maxChunkSize))
    if (state.url === before.url) assert.ok(durableBytes(state) >= durableBytes(before), 'what was durable is not')
    const shown = fractionOf(state, durableBytes(state))
    assert.equal(shown === 1, state.phase === 'active')
    const whole = spans.length && !missing(state.size, [...state.durable, ...spans]).length
    if (whole) assert.ok(state.fileMd5, 'the last byte goes without the digest of all of them')
    if (state.phase === 'active') assert.ok(!isUnsafe(state))
  }

  /** Complete one of the pending effects; `how` is its outcome. */
  happens(which, how) {
    const [effect] = this.pending.splice(which % this.pending.length, 1)
    if (effect.do === 'wait') return this.send({ type: 'wake' })
    if (effect.do === 'watch' && how.heard) {
      if (how.lost !== 'request') this.pending.push(effect) // it goes on
      return this.send({ type: 'update', document: this.carried({ do: 'get' }, {}).document })
    }
    if (effect.do === 'hash') {
      this.send({ type: 'hashed', start: effect.start, stop: effect.stop, pieces: hashed(this.file, effect) })
      if (how.whole) this.send({ type: 'file-hashed', md5: md5(this.file) })
      return
    }
    this.send({
      type: 'answer',
      to: effect.do,
      start: effect.start,
      seconds: how.seconds,
      random: 0.5,
      answer: this.carried(effect, how),
    })
  }

  carried(effect, { lost, refused, damaged, html }) {
    const { state, model } = this
    const token = this.owner ? this.token : null
    const { body, ...head } = makeRequest(effect, {
      uploads: 'http://service/v1/uploads',
      url: state.url,
      zerosType: state.zerosType,
      key: 'key',
      token,
      ticket: this.ticket,
      description: { size: state.size, image: { name: 'disk' } },
    })
    if (lost === 'request') return readAnswer({ status: 0 })
    if (refused) return readAnswer(problem(...refused))
    if (html) return readAnswer({ status: html, text: '<html>' })
    let bytes = Array.isArray(body) ? this.file.subarray(...body) : Buffer.alloc(0)
    if (damaged && bytes.length) bytes = Buffer.from(bytes.map((each, at) => (at ? each : each ^ 1)))
    const came = readAnswer(model.handle({ ...head, body }, bytes), 'http://service/v1/uploads')
    if (lost === 'answer') return readAnswer({ status: 0 })
    const ticket = effect.do === 'renew' ? came.document?.value : came.document?.ticket?.value
    if (ticket) this.ticket = ticket
    return came
  }

  /** Complete all effects without failures until the upload ends. */
  ends(most = 20_000) {
    this.send({ type: 'file-hashed', md5: md5(this.file) })
    if (this.state.phase === 'paused' || this.state.phase === 'failed') this.send({ type: 'start' })
    for (let steps = 0; !['active', 'failed', 'cancelled'].includes(this.state.phase); steps++) {
      assert.ok(steps < most && this.pending.length, `it hangs: ${JSON.stringify({ ...this.state, document: null })}`)
      this.happens(0, { seconds: 1 })
    }
  }
}

const covered = (ranges) => ranges.reduce((sum, [start, stop]) => sum + stop - start, 0)

const assertUploaded = ({ state, model, file, finished }) => {
  assert.equal(state.phase, 'active', JSON.stringify(state.error))
  assert.equal(finished, 1)
  const upload = model.uploads.get(state.url.split('/').at(-1))
  assert.ok(upload.content.equals(file))
  assert.equal(upload.whole ?? md5(file), md5(file))
}

const started = (file, model = new Model(), options = {}) => {
  const world = new World(file, model, options)
  world.send({ type: 'start' })
  return world
}

const until = (world, doing, how = { seconds: 1 }) => {
  for (let steps = 0; steps < 1000; steps++) {
    const which = world.pending.findIndex((each) => each.do === doing)
    if (which >= 0) return which
    world.happens(0, how)
  }
  assert.fail(`it never does ${doing}`)
}

const happening = fc.record({
  which: fc.nat(20),
  seconds: fc.constantFrom(0.1, 1, 5, 20),
  whole: fc.boolean(),
  heard: fc.boolean(),
  lost: fc.constantFrom(undefined, undefined, undefined, 'request', 'answer'),
  damaged: fc.constantFrom(false, false, false, false, true),
  refused: fc.constantFrom(
    undefined,
    undefined,
    undefined,
    undefined,
    [503, 'shutting-down'],
    [507, 'no-scratch-space'],
    [429, 'over-limit'],
    [408, 'stalled'],
    [409, 'superseded'],
    [500, 'internal-error'],
  ),
  html: fc.constantFrom(undefined, undefined, undefined, undefined, 502, 504, 413),
})
const told = fc.constantFrom('pause', 'start', 'wake', 'expire', 'file-hashed')
const story = fc.array(fc.oneof({ weight: 9, arbitrary: happening }, { weight: 1, arbitrary: told }), {
  maxLength: 120,
})
const files = fc.tuple(fc.array(fc.boolean(), { maxLength: 60 }), fc.nat(100_000))

test('any order of events ends with every byte at the service', () => {
  const property = fc.property(
    files,
    story,
    fc.record({ tickets: fc.boolean(), zeros: fc.boolean() }),
    (shape, events, how) => {
      const file = content(...shape)
      const world = started(file, new Model(how))
      for (const event of events) {
        if (event === 'expire') world.model.expireTickets()
        else if (event === 'file-hashed') world.send({ type: 'file-hashed', md5: md5(file) })
        else if (typeof event === 'string') world.send({ type: event })
        else if (world.pending.length) world.happens(event.which, event)
      }
      if (world.state.phase === 'failed')
        assert.ok(
          ['damaged', 'unauthenticated', 'refused'].includes(world.state.error.code),
          JSON.stringify(world.state.error),
        )
      world.ends()
      assertUploaded(world)
    },
  )
  fc.assert(property, { numRuns: Number(process.env.RUNS ?? 100) })
})

test('an empty file becomes an image', () => {
  const world = started(Buffer.alloc(0))
  world.ends()
  assertUploaded(world)
})

test('a creation repeated after a lost answer makes one upload', () => {
  const world = started(content([1, 1], 5))
  world.happens(until(world, 'create'), { lost: 'answer' })
  world.ends()
  assertUploaded(world)
  assert.equal(world.model.uploads.size, 1)
})

test('chunks grow on a fast network up to the service’s limit', () => {
  const world = started(content(Array(400).fill(1), 0), new Model({ maxChunk: 16 * MIB }))
  world.ends()
  assertUploaded(world)
  assert.equal(world.state.chunkSize, 16 * MIB)
  assert.equal(world.state.parallel, world.state.maxParallel)
})

test('chunks shrink on a slow network, and fewer are sent at a time', () => {
  const world = started(content(Array(80).fill(1), 0))
  world.happens(until(world, 'send'), { seconds: 40 })
  assert.equal(world.state.chunkSize, 2 * MIB)
  assert.equal(world.state.parallel, 1)
})

test('chunks hashed before a shrink are not sent in the old size', () => {
  const world = started(content(Array(80).fill(1), 0))
  until(world, 'send')
  const hashing = world.pending.filter((each) => each.do === 'hash')
  assert.ok(hashing.length)
  world.happens(until(world, 'send'), { lost: 'request' })
  for (const effect of hashing)
    world.happens(
      world.pending.findIndex((each) => each.do === 'hash' && each.start === effect.start),
      {},
    )
  const ready = world.state.pieces.filter((each) => each.stage === 'ready')
  assert.ok(ready.every((each) => each.stop - each.start <= world.state.chunkSize))
})

test('chunks shrink to a proxy’s limit', () => {
  const world = started(content(Array(40).fill(1), 0))
  for (let at = 0; at < 2; at++) world.happens(until(world, 'send'), { html: 413 })
  assert.ok(world.state.maxChunkSize < 4 * MIB)
  world.ends()
  assertUploaded(world)
})

test('a proxy that accepts no chunk ends the upload', () => {
  const world = started(content(Array(40).fill(1), 0))
  while (world.state.phase !== 'failed') world.happens(until(world, 'send'), { html: 413 })
  assert.equal(world.state.error.code, 'refused')
})

test('an expired ticket is renewed once', () => {
  const world = started(content(Array(20).fill(1), 0), new Model({ tickets: true }))
  until(world, 'send')
  world.model.expireTickets()
  world.ends()
  assertUploaded(world)
  assert.equal(world.model.requests.filter((each) => each.url.endsWith('/ticket')).length, 1)
})

test('a refused new ticket ends the upload until there is another', () => {
  const world = started(content(Array(20).fill(1), 0), new Model({ tickets: true }))
  const which = until(world, 'send')
  world.happens(which, { refused: [401, 'ticket-expired'] })
  world.happens(until(world, 'renew'), {})
  world.happens(until(world, 'get'), { refused: [401, 'ticket-expired'] })
  assert.equal(world.state.error.code, 'unauthenticated')
  world.ends()
  assertUploaded(world)
})

test('an upload that is gone is not created again by itself', () => {
  const world = started(content(Array(20).fill(1), 0))
  until(world, 'send')
  for (const upload of world.model.uploads.values()) upload.gone = 'upload-expired'
  world.happens(until(world, 'send'), {})
  assert.equal(world.state.error.code, 'gone')
  assert.equal(world.model.uploads.size, 1)
})

test('a remembered upload that is gone is created again', () => {
  const world = started(content([1], 0), new Model(), { url: 'http://service/v1/uploads/a-gone', recreate: true })
  world.ends()
  assertUploaded(world)
})

test('a file of another size is refused', () => {
  const model = new Model()
  const first = started(content(Array(20).fill(1), 0), model)
  first.happens(until(first, 'send'), { seconds: 1 })
  const other = started(content(Array(20).fill(1), 1), model, {
    url: 'http://service/v1/uploads/a-00000000000000000000000000000000',
  })
  other.ends()
  assert.equal(other.state.error.code, 'file-changed')
})

test('a run of zeros is declared in one request without a body', () => {
  const file = content([1, ...Array(400).fill(0), 1], 0)
  const world = started(file, new Model())
  world.ends()
  assertUploaded(world)
  assert.equal(world.model.wire, 512 * KIB)
  const runs = world.model.requests.filter((each) => each.headers['Content-Type']?.includes('zeros'))
  assert.ok(runs.length <= 2, `${runs.length} requests`)
})

test('a handoff that needs the owner’s token gets it once', () => {
  const world = started(content([1], 0), new Model({ tickets: true }))
  world.model.polls = 5
  world.happens(until(world, 'send', { seconds: 1, whole: true }), { seconds: 1 })
  const [upload] = world.model.uploads.values()
  upload.trouble = { reason: 'token-expired', detail: 'The token has expired.' }
  world.ends()
  assertUploaded(world)
  assert.equal(world.model.requests.filter((each) => each.url.endsWith('/ticket')).length, 1)
})

test('a failed handoff is repeated unless the service refuses', () => {
  for (const hopeless of [false, true]) {
    const world = started(content([1], 0))
    world.happens(until(world, 'send', { seconds: 1, whole: true }), { seconds: 1 })
    const [upload] = world.model.uploads.values()
    Object.assign(upload, { state: 'failed', hopeless })
    while (world.state.phase !== 'failed') world.happens(0, {})
    assert.equal(world.state.error.code, 'undelivered')
    world.ends()
    assert.equal(world.state.phase, hopeless ? 'failed' : 'active')
    assert.equal(world.state.error?.code, hopeless ? 'undelivered' : undefined)
  }
})

test('refused content has the code `refused`', () => {
  for (const reason of ['format-mismatch', 'unsafe-image', 'disk-too-large']) {
    const world = started(content([1], 0))
    world.happens(until(world, 'send', { seconds: 1, whole: true }), { seconds: 1 })
    const [upload] = world.model.uploads.values()
    Object.assign(upload, { state: 'failed', trouble: { reason, detail: 'It is no qcow2.' } })
    while (world.state.phase !== 'failed') world.happens(0, {})
    assert.equal(world.state.error.code, 'refused')
    assert.equal(world.state.error.message, 'It is no qcow2.')
  }
})

/** An upload whose bytes are safe and whose stream of events is requested. */
const sealed = (polls, model = new Model()) => {
  const world = started(content([1], 0), model)
  model.polls = polls
  world.happens(until(world, 'send', { seconds: 1, whole: true }), { seconds: 1 })
  until(world, 'watch')
  return world
}
const stream = (world) => world.pending.findIndex((each) => each.do === 'watch')
const delay = (world) => world.pending.find((each) => each.do === 'wait').seconds

test('an open stream of events replaces polling', () => {
  const world = sealed(4)
  assert.ok(delay(world) < 1, 'until something is heard, it is asked')
  for (const told of [2, 3]) {
    world.happens(stream(world), { heard: true })
    assert.equal(delay(world), 30, `event ${told}`)
    assert.equal(world.state.phase, 'handing over')
  }
  world.happens(stream(world), { heard: true })
  assert.equal(world.state.document.state, 'active')
  world.ends()
  assertUploaded(world)
})

test('a lost stream of events is replaced, with polling meanwhile', () => {
  const world = sealed(4)
  world.happens(stream(world), { heard: true })
  world.happens(stream(world), { lost: 'request' })
  assert.ok(delay(world) < 1)
  assert.equal(stream(world), -1)
  until(world, 'watch')
  assert.equal(world.state.phase, 'handing over')
  world.ends()
})

test('a refused stream of events is not requested again', () => {
  const world = sealed(9)
  world.happens(stream(world), { html: 404 })
  for (let steps = 0; world.state.phase !== 'active'; steps++) {
    assert.ok(steps < 40)
    assert.equal(stream(world), -1)
    if (world.state.doing === 'wait') assert.ok(delay(world) <= 3)
    world.happens(0, {})
  }
})

test('a silent stream delays nothing', () => {
  const world = sealed(5)
  for (let steps = 0; world.state.phase !== 'active'; steps++) {
    assert.ok(steps < 20)
    world.happens(
      world.pending.findIndex((each) => each.do !== 'watch'),
      {},
    )
  }
  assert.equal(world.pending.filter((each) => each.do === 'watch').length, 1)
})

test('an event that overtakes an answer wins', () => {
  const world = sealed(3)
  world.happens(
    world.pending.findIndex((each) => each.do === 'wait'),
    {},
  )
  assert.equal(world.state.doing, 'get')
  const [upload] = world.model.uploads.values()
  const late = readAnswer(world.model.handle({ method: 'GET', url: world.state.url, headers: {} }))
  upload.left = 0
  world.happens(stream(world), { heard: true })
  world.send({ type: 'answer', to: 'get', answer: late })
  assert.equal(world.state.document.state, 'active')
  world.ends()
  assertUploaded(world)
})

test('an upload is active without a receipt, too', () => {
  for (const how of [{ html: 404 }, { html: 502 }, { refused: [401, 'ticket-expired'] }, { lost: 'answer' }]) {
    const world = sealed(3)
    until(world, 'receipt')
    assert.notEqual(world.state.phase, 'active')
    world.happens(until(world, 'receipt'), how)
    assert.equal(world.state.receipt, null)
    assertUploaded(world)
  }
})

test('a 5xx never creates another upload', () => {
  const world = started(content(Array(60).fill(1), 0))
  world.happens(until(world, 'send'), { seconds: 1 })
  world.happens(until(world, 'send'), { html: 502 })
  const before = durableBytes(world.state)
  for (let at = 0; at < 5; at++) {
    world.happens(until(world, 'get'), { html: 502 })
    assert.ok(durableBytes(world.state) >= before && before > 0)
  }
  world.ends()
  assert.equal(world.model.uploads.size, 1)
})

test('Retry-After is obeyed up to a limit', () => {
  const world = started(content([1], 0))
  const [, effects] = plan(world.state, {
    type: 'answer',
    to: 'limits',
    random: 0,
    answer: { status: 503, reason: null, retryAfter: 40 },
  })
  assert.equal(effects[0].seconds, 40)
  const [, more] = plan(world.state, {
    type: 'answer',
    to: 'limits',
    random: 0,
    answer: { status: 503, reason: null, retryAfter: 9999 },
  })
  assert.equal(more[0].seconds, 300)
})

test('refusals are not retried', () => {
  for (const [status, reason] of [
    [400, 'malformed-request'],
    [403, 'forbidden'],
    [409, 'different-bytes'],
    [415, null],
    [501, null],
  ])
    assert.equal(classify({ status, reason }), 'fail')
})

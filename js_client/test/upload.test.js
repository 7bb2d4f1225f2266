// Upload as a page uses it, with a worker in this process and a model of the service.

import assert from 'node:assert/strict'
import { Blob } from 'node:buffer'
import { test } from 'node:test'
import { UploadError } from '../src/page/errors.js'
import { Upload } from '../src/page/upload.js'
import { Model, md5, problem } from './model.js'
import { Page } from './page.js'

const MIB = 1024 * 1024

const fileOf = (bytes, lastModified = 1, name = 'disk.raw') => Object.assign(new Blob([bytes]), { name, lastModified })
const noise = (size, seed = 1) =>
  Buffer.from(Uint8Array.from({ length: size }, (_, at) => ((at * 31 + seed * 7) ^ (at >> 8)) % 251))
const CONTENT = noise(9 * MIB + 5)

const received = (model) => [...model.uploads.values()].at(-1)

test('a file becomes an image with the same md5', async () => {
  const page = new Page(new Model())
  const upload = page.upload(fileOf(CONTENT))
  const result = await upload.start().done
  assert.equal(result.md5, md5(CONTENT, 'hex'))
  assert.equal(result.hashes.md5, result.md5)
  assert.ok(received(page.model).content.equals(CONTENT))
  assert.equal(received(page.model).whole, md5(CONTENT))
  assert.deepEqual(result.receipt, { jws: 'signed' })
  assert.equal(upload.phase, 'active')
  assert.equal(upload.progress.fraction, 1)
})

test('progress never decreases, and is 1 only at the end', async () => {
  const page = new Page(new Model())
  let fails = 6
  page.between = async (request, carry) =>
    request.method === 'PATCH' && fails-- > 0 ? problem(503, 'shutting-down') : carry()
  const upload = page.upload(fileOf(CONTENT)).start()
  const seen = []
  for await (const progress of upload) seen.push({ ...progress })
  const fractions = seen.map((each) => each.fraction)
  assert.deepEqual(
    fractions,
    [...fractions].sort((a, b) => a - b),
  )
  assert.deepEqual(
    seen.map((each) => each.durable),
    seen.map((each) => each.durable).sort((a, b) => a - b),
  )
  assert.ok(seen.every((each) => each.fraction < 1 || each.phase === 'active'))
  assert.ok(seen.some((each) => each.phase === 'waiting' && each.lastError))
})

test('progress does not decrease when the handoff starts again', async () => {
  const model = new Model()
  Object.assign(model, { polls: 6, delivered: [0, 0.9, 0.1, 0.5, 0].map((part) => part * CONTENT.length) })
  const upload = new Page(model).upload(fileOf(CONTENT)).start()
  const seen = []
  for await (const { fraction } of upload) seen.push(fraction)
  assert.ok(seen.some((each) => each > 0.95 && each < 1))
  assert.deepEqual(
    seen,
    [...seen].sort((a, b) => a - b),
  )
})

test('events report the handoff, or polling if there are none', async () => {
  for (const streams of [true, false]) {
    const page = new Page(Object.assign(new Model(), { streams, polls: 6 }))
    const asked = []
    page.between = async ({ method, url }, carry) => {
      if (method !== 'GET') return carry()
      const what = url.split('/')[6] ?? 'itself'
      const again = asked.includes(what)
      asked.push(what)
      return streams && again ? new Promise(() => {}) : carry() // who asks learns nothing
    }
    await page.upload(fileOf(CONTENT)).start().done
    assert.equal(asked.filter((each) => each === 'events').length, 1)
    if (!streams) assert.equal(asked.length, 8)
  }
})

test('events are read as they arrive, wherever they are cut', async () => {
  for (const newline of ['\n', '\r\n', '\r'])
    for (const partSize of [7, 100_000]) {
      const page = new Page(Object.assign(new Model(), { newline, polls: 4 }))
      page.partSize = partSize
      let gets = 0
      page.between = async ({ method, url }, carry) =>
        method === 'GET' && url.split('/').length === 6 && ++gets > 1 ? new Promise(() => {}) : carry()
      await page.upload(fileOf(CONTENT)).start().done
    }
})

test('an overlong stream of events is replaced', async () => {
  const page = new Page(Object.assign(new Model(), { polls: 6 }))
  let streams = 0
  page.between = async (request, carry) => {
    if (!request.url.endsWith('/events') || ++streams > 1) return carry()
    request.onText(`: ${'x'.repeat(1_000_000)}`)
    return new Promise(() => {}) // until it is aborted
  }
  await page.upload(fileOf(CONTENT)).start().done
  assert.equal(streams, 2)
})

test('chunks shrink on a slow network and grow on a fast one', async () => {
  const page = new Page(new Model())
  page.rate = 100_000
  const sizes = []
  page.between = async (request, carry) => {
    if (request.method === 'PATCH') sizes.push(request.body.size / MIB)
    if (sizes.length > 6) page.rate = 100 * MIB
    return carry()
  }
  await page.upload(fileOf(Buffer.concat(Array(40).fill(noise(MIB)))), { parallel: 2 }).start().done
  const [slow, fast] = [sizes.slice(0, 7), sizes.slice(7)]
  assert.deepEqual(slow.slice(0, 2), [4, 4])
  assert.equal(slow.at(-1), 1, String(sizes)) // MiB, in 10 s
  assert.ok(Math.max(...fast) >= 4, String(sizes))
})

test('an upload resumes after a pause where it was', async () => {
  const page = new Page(new Model())
  const upload = page.upload(fileOf(CONTENT))
  let chunks = 0
  page.between = async (request, carry) => {
    if (request.method === 'PATCH' && ++chunks === 2) queueMicrotask(() => upload.pause())
    return carry()
  }
  upload.start()
  await new Promise((resolve) => upload.addEventListener('phase', () => upload.phase === 'paused' && resolve()))
  const before = page.model.requests.length
  await new Promise((resolve) => setTimeout(resolve, 50))
  assert.equal(page.model.requests.length, before)
  await upload.resume().done
  assert.equal(page.model.uploads.size, 1)
  assert.ok(received(page.model).content.equals(CONTENT))
})

test('another page resumes the upload of a closed one', async () => {
  const model = new Model()
  const first = new Page(model)
  let chunks = 0
  first.between = async (request, carry) =>
    request.method === 'PATCH' && ++chunks > 1 ? new Promise(() => {}) : carry()
  const closed = first.upload(fileOf(CONTENT)).start()
  await new Promise((resolve) => closed.addEventListener('progress', () => closed.progress.durable && resolve()))
  first.close()

  const second = new Page(model, { storage: first.storage })
  const [previous, ...others] = await Upload.findPrevious({ storage: first.storage, identity: 'ada' })
  assert.equal(others.length, 0)
  assert.equal(previous.name, 'disk.raw')
  const upload = await previous.reopen(fileOf(CONTENT), { worker: () => second.worker() })
  await upload.start().done
  assert.equal(model.uploads.size, 1)
  assert.ok(model.wire < CONTENT.length + 4 * MIB)
  assert.deepEqual(await Upload.findPrevious({ storage: first.storage, identity: 'ada' }), [])
})

test('a creation repeated by another page makes one upload', async () => {
  const model = new Model()
  const page = new Page(model)
  const created = new Promise((resolve) => {
    page.between = async (request, carry) =>
      request.method === 'POST' ? (await carry(), resolve(), new Promise(() => {})) : carry()
  })
  page.upload(fileOf(CONTENT)).start()
  await created
  page.close()
  page.between = async (request, carry) => carry()
  await page.upload(fileOf(CONTENT)).start().done
  assert.equal(model.uploads.size, 1)
})

test('a creation with other options has another key', async () => {
  const page = new Page(new Model())
  for (const name of ['one', 'two']) {
    const posted = new Promise((resolve) => {
      page.between = async (request, carry) =>
        request.method === 'POST' ? (resolve(), new Promise(() => {})) : carry()
    })
    page.upload(fileOf(CONTENT), { image: { disk_format: 'raw', name } }).start()
    await posted
    page.close()
  }
  const keys = (await page.storage.all()).map((each) => each.idempotencyKey)
  assert.equal(new Set(keys).size, 2)
  page.between = async (request, carry) => (keys.push(request.headers['Idempotency-Key']), carry())
  await page.upload(fileOf(CONTENT), { image: { disk_format: 'raw', name: 'three' } }).start().done
  await page.upload(fileOf(CONTENT), { image: { disk_format: 'raw', name: 'three' } }).start().done
  assert.equal(new Set(keys.filter(Boolean)).size, 4)
})

test('a refused file can be uploaded again as another format', async () => {
  const page = new Page(new Model())
  page.between = async (request, carry) => {
    if (request.method !== 'PATCH') return carry()
    received(page.model).state = 'failed'
    return problem(422, 'format-mismatch', { detail: 'These bytes are qcow2.' })
  }
  await assert.rejects(page.upload(fileOf(CONTENT)).start().done, {
    code: 'refused',
    message: 'These bytes are qcow2.',
  })
  page.between = async (request, carry) => carry()
  await page.upload(fileOf(CONTENT), { image: { disk_format: 'qcow2' } }).start().done
  assert.deepEqual(
    [...page.model.uploads.values()].map((each) => each.state),
    ['failed', 'active'],
  )
})

test('an upload whose bytes are safe needs no file', async () => {
  const model = new Model()
  const page = new Page(model)
  page.between = async (request, carry) => (request.method === 'GET' ? new Promise(() => {}) : carry())
  const closed = page.upload(fileOf(CONTENT)).start()
  await new Promise((resolve) =>
    closed.addEventListener('progress', () => closed.progress.durable === CONTENT.length && resolve()),
  )
  page.close()
  page.between = async (request, carry) => carry()
  const [previous] = await Upload.findPrevious({ storage: page.storage, identity: 'ada' })
  const upload = await previous.reopen(null, { worker: () => page.worker() })
  const result = await upload.start().done
  assert.equal(result.hashes.md5, md5(CONTENT, 'hex'))
})

test('a record outlives the hour that an upload without a byte has', async () => {
  const page = new Page(new Model())
  page.between = async (request, carry) => (request.method === 'PATCH' ? new Promise(() => {}) : carry())
  const closed = page.upload(fileOf(CONTENT)).start()
  await new Promise((resolve) => closed.addEventListener('phase', () => closed.phase === 'uploading' && resolve()))
  page.close()
  const [record] = await page.storage.all()
  assert.ok(record.expires > Date.now() + 6 * 24 * 3600e3)
})

test('an upload whose bytes are not safe needs its file', async () => {
  const page = new Page(new Model())
  page.between = async (request, carry) => (request.method === 'PATCH' ? new Promise(() => {}) : carry())
  const closed = page.upload(fileOf(CONTENT)).start()
  await new Promise((resolve) => closed.addEventListener('phase', () => closed.phase === 'uploading' && resolve()))
  page.close()
  const [previous] = await Upload.findPrevious({ storage: page.storage, identity: 'ada' })
  const upload = await previous.reopen(null, { worker: () => page.worker() })
  await assert.rejects(upload.start().done, { code: 'file-unreadable' })
})

test('a changed file is refused', async () => {
  const model = new Model()
  const page = new Page(model)
  page.between = async (request, carry) => (request.method === 'PATCH' ? new Promise(() => {}) : carry())
  const closed = page.upload(fileOf(CONTENT)).start()
  await new Promise((resolve) => closed.addEventListener('phase', () => closed.phase === 'uploading' && resolve()))
  page.close()
  const [previous] = await Upload.findPrevious({ storage: page.storage, identity: 'ada' })
  for (const changed of [fileOf(CONTENT, 2), fileOf(noise(CONTENT.length, 2))]) {
    const upload = await previous.reopen(changed, { worker: () => page.worker() })
    await assert.rejects(upload.start().done, { name: 'UploadError', code: 'file-changed' })
    assert.ok(upload.error.advice)
  }
})

test('cancel() ends an upload here and at the service', async () => {
  const page = new Page(new Model())
  page.between = async (request, carry) => (request.method === 'PATCH' ? new Promise(() => {}) : carry())
  const upload = page.upload(fileOf(CONTENT)).start()
  await new Promise((resolve) => upload.addEventListener('phase', () => upload.phase === 'uploading' && resolve()))
  upload.cancel()
  await assert.rejects(upload.done, { code: 'cancelled' })
  assert.equal(received(page.model).gone, 'upload-cancelled')
  assert.deepEqual(await Upload.findPrevious({ storage: page.storage, identity: 'ada' }), [])
})

test('an expired ticket is renewed once by the page', async () => {
  const model = new Model({ tickets: true })
  const page = new Page(model)
  let chunks = 0
  page.between = async (request, carry) => {
    if (request.method === 'PATCH' && ++chunks === 2) model.expireTickets()
    return carry()
  }
  let asked = 0
  const renewTicket = async (url) => {
    asked += 1
    const upload = model.uploads.get(url.split('/').at(-1))
    return `${upload.id} ${upload.generation}`
  }
  await page.upload(fileOf(CONTENT), { token: async () => 'token', renewTicket }).start().done
  assert.equal(asked, 1)
})

test('a ticket suffices without a token', async () => {
  const model = new Model({ tickets: true })
  const description = JSON.stringify({ size: CONTENT.length, image: { name: 'theirs' } })
  const made = model.handle({
    method: 'POST',
    url: 'http://service/v1/uploads',
    headers: { 'X-Auth-Token': 'token' },
    body: description,
  })
  const { href, ticket } = JSON.parse(made.text)
  await new Page(model).upload(fileOf(CONTENT), { url: href, ticket: ticket.value }).start().done
  assert.equal(model.uploads.size, 1)
})

test('without a new ticket the upload fails with advice', async () => {
  const page = new Page(new Model({ tickets: true }))
  const upload = page.upload(fileOf(CONTENT), { token: 'wrong' }).start()
  await assert.rejects(
    upload.done,
    (error) => error instanceof UploadError && error.code === 'unauthenticated' && error.advice !== '',
  )
})

test('a failing token function is reported with its message', async () => {
  const page = new Page(new Model({ tickets: true }))
  const token = async () => {
    throw new Error('Nobody is signed in.')
  }
  await assert.rejects(page.upload(fileOf(CONTENT), { token }).start().done, {
    code: 'unauthenticated',
    message: 'Nobody is signed in.',
  })
})

test('a handle without its file is reported as unreadable', async () => {
  const getFile = async () => {
    throw new DOMException('A file was not found.', 'NotFoundError')
  }
  await assert.rejects(new Page(new Model()).upload({ getFile }).start().done, { code: 'file-unreadable' })
})

test('a finished upload ignores pause, resume and cancel', async () => {
  const page = new Page(new Model())
  const upload = page.upload(fileOf(CONTENT))
  const result = await upload.start().done
  for (const act of ['pause', 'resume', 'cancel']) {
    upload[act]()
    assert.equal(upload.phase, 'active')
    assert.equal(await upload.done, result)
  }
  const other = page.upload(fileOf(CONTENT, 2))
  other.cancel()
  for (const act of ['pause', 'resume', 'cancel']) {
    other[act]()
    assert.equal(other.phase, 'cancelled')
  }
})

test('start() during a cancellation rejects as cancelled', async () => {
  const page = new Page(new Model())
  page.between = async (request, carry) => (request.method === 'PATCH' ? new Promise(() => {}) : carry())
  const upload = page.upload(fileOf(CONTENT)).start()
  await new Promise((resolve) => upload.addEventListener('phase', () => upload.phase === 'uploading' && resolve()))
  upload.cancel()
  upload.start()
  await assert.rejects(upload.done, { code: 'cancelled' })
})

test('an image that Glance refuses is a failure with its reason', async () => {
  const page = new Page(new Model())
  page.between = async (request, carry) =>
    request.method === 'POST'
      ? problem(400, 'image-refused', { detail: 'Glance does not know the format foo.' })
      : carry()
  await assert.rejects(page.upload(fileOf(CONTENT)).start().done, {
    code: 'refused',
    message: 'Glance does not know the format foo.',
  })
})

test('a failure can be tried again', async () => {
  const page = new Page(new Model())
  let refused = true
  page.between = async (request, carry) => (request.method === 'POST' && refused ? problem(403, 'forbidden') : carry())
  const upload = page.upload(fileOf(CONTENT)).start()
  await assert.rejects(upload.done, { code: 'forbidden' })
  refused = false
  await upload.start().done
  assert.equal(upload.error, null)
})

test('zeros are not sent', async () => {
  const disk = Buffer.concat([noise(MIB), Buffer.alloc(64 * MIB), noise(MIB, 3), Buffer.alloc(32 * MIB)])
  const page = new Page(new Model())
  const result = await page.upload(fileOf(disk)).start().done
  assert.equal(result.md5, md5(disk, 'hex'))
  assert.ok(page.model.wire <= 4 * MIB, `${page.model.wire} bytes`)
})

// The owner of an upload

const ADA = { identity: 'ada' }
const BOB = { identity: 'bob' }

/** Begin an upload in `page`, and close the page once some bytes are durable. */
const abandoned = async (page, options) => {
  let chunks = 0
  page.between = async (request, carry) =>
    request.method === 'PATCH' && ++chunks > 1 ? new Promise(() => {}) : carry()
  const upload = page.upload(fileOf(CONTENT), options).start()
  await new Promise((resolve) => upload.addEventListener('progress', () => upload.progress.durable && resolve()))
  page.close()
  page.between = async (request, carry) => carry()
}

test('nobody goes on with another person’s upload', async () => {
  const page = new Page(new Model())
  await abandoned(page, ADA)
  const { storage } = page
  assert.deepEqual(await Upload.findPrevious({ storage, ...BOB }), [])
  await page.upload(fileOf(CONTENT), BOB).start().done
  const [adas, bobs] = [...page.model.uploads.values()]
  assert.deepEqual([adas.state, bobs.state], ['receiving', 'active'])
  const [previous] = await Upload.findPrevious({ storage, ...ADA })
  assert.ok(previous.url.endsWith(adas.id))
  const worker = () => page.worker()
  const stolen = await previous.reopen(fileOf(CONTENT), { ...BOB, worker })
  await assert.rejects(stolen.start().done, { code: 'forbidden' })
  await (await previous.reopen(fileOf(CONTENT), { worker })).start().done
  assert.equal(adas.state, 'active')
  assert.equal(page.model.uploads.size, 2)
})

test('the same file for another image is another upload', async () => {
  const page = new Page(new Model())
  await abandoned(page)
  const others = [
    { image: { disk_format: 'raw', name: 'other' } },
    { image: { disk_format: 'qcow2' } },
    { store: 'fast' },
    { image_id: '01234567-89ab-cdef-0123-456789abcdef' },
  ]
  for (const options of others) await page.upload(fileOf(CONTENT), options).start().done
  assert.deepEqual(
    [...page.model.uploads.values()].map((each) => each.state),
    ['receiving', ...others.map(() => 'active')],
  )
  // Neither the order of members nor what is the default makes another one.
  const same = { image: { container_format: 'bare', name: 'disk.raw', disk_format: 'raw' } }
  await page.upload(fileOf(CONTENT), same).start().done
  assert.equal(page.model.uploads.size, 1 + others.length)
})

test('signing out forgets one’s own uploads and no others', async () => {
  const page = new Page(new Model())
  await abandoned(page, ADA)
  await abandoned(page, BOB)
  await page.upload(fileOf(CONTENT, 2), ADA).start().done // whose record is kept for a while
  await Upload.forgetPrevious({ storage: page.storage, ...ADA })
  assert.deepEqual(
    (await page.storage.all()).map((each) => each.identity),
    ['bob'],
  )
})

test('records of nobody are dropped', async () => {
  const page = new Page(new Model())
  await page.storage.put({ key: 'old', url: 'http://service/v1/uploads/a', ticket: 't', expires: Date.now() + 1e6 })
  assert.deepEqual(await Upload.findPrevious({ storage: page.storage, identity: undefined, url: 'u', ticket: 't' }), [])
  assert.deepEqual(await page.storage.all(), [])
})

/** Let the service answer questions about identity with `answers`, one after the other; the requests are returned. */
const asked = (t, answers) => {
  const requests = []
  t.mock.method(globalThis, 'fetch', async (url, options) => {
    requests.push({ url, ...options })
    const next = answers.length > 1 ? answers.shift() : answers[0]
    if (!next) throw new TypeError('Failed to fetch')
    return new Response(JSON.stringify(next[1]), { status: next[0] })
  })
  return requests
}
const ME = [200, { identity: 'digest' }]

test('the service tells whose upload it is, as soon as it can', async (t) => {
  const requests = asked(t, [null, [503, {}], [200, '<html>'], ME])
  const page = new Page(new Model())
  const upload = page.upload(fileOf(CONTENT), { identity: undefined, token: async () => 'token' }).start()
  const phases = []
  upload.addEventListener('phase', () => phases.push(upload.phase))
  await upload.done
  assert.ok(phases.indexOf('waiting') < phases.indexOf('uploading'))
  assert.equal(requests.length, 4)
  for (const { url, headers, redirect } of requests)
    assert.deepEqual([url, headers['X-Auth-Token'], redirect], ['http://service/v1/identity', 'token', 'error'])
  const [record] = await page.storage.all()
  assert.equal(record.identity, 'digest')
  assert.ok(!JSON.stringify(record).includes('token'))
})

test('a failing identity function is reported with its message', async () => {
  const identity = async () => {
    throw new Error('Nobody is signed in.')
  }
  const failure = { name: 'UploadError', code: 'unauthenticated', message: 'Nobody is signed in.' }
  await assert.rejects(new Page(new Model()).upload(fileOf(CONTENT), { identity }).start().done, failure)
  await assert.rejects(Upload.findPrevious({ identity }), failure)
})

test('an upload is cancelled while nobody knows whose it is', async (t) => {
  asked(t, [null])
  const page = new Page(new Model())
  const upload = page.upload(fileOf(CONTENT), { identity: undefined }).start()
  await new Promise((resolve) => upload.addEventListener('phase', () => upload.phase === 'waiting' && resolve()))
  upload.cancel()
  await assert.rejects(upload.done, { code: 'cancelled' })
  await new Promise((resolve) => setTimeout(resolve, 1000))
  assert.equal(upload.phase, 'cancelled')
  assert.equal(page.model.requests.length, 0)
})

test('without a good token nothing is found and nothing is begun', async (t) => {
  const problem = [401, { type: 'urn:problem-type:resumable-glance:unauthenticated', detail: 'Get a new one.' }]
  const requests = asked(t, [problem])
  const page = new Page(new Model())
  let tokens = 0
  const options = { identity: undefined, endpoint: 'http://service', token: () => `token ${++tokens}` }
  const refused = { name: 'UploadError', code: 'unauthenticated', message: 'Get a new one.' }
  await assert.rejects(page.upload(fileOf(CONTENT), options).start().done, refused)
  assert.deepEqual([tokens, requests.length], [2, 2]) // the function may have a newer one, once
  await assert.rejects(Upload.findPrevious(options), refused)
  assert.equal(page.model.requests.length, 0)
})

test('with a ticket alone nobody is asked, and only its upload is found', async (t) => {
  const requests = asked(t, [[500, {}]])
  const model = new Model({ tickets: true })
  const created = () =>
    JSON.parse(
      model.handle({
        method: 'POST',
        url: 'http://service/v1/uploads',
        headers: { 'X-Auth-Token': 'token' },
        body: JSON.stringify({ size: CONTENT.length }),
      }).text,
    )
  const [one, other] = [created(), created()].map(({ href, ticket }) => ({ url: href, ticket: ticket.value }))
  const page = new Page(model)
  await abandoned(page, { identity: undefined, ...one })
  const { storage } = page
  assert.deepEqual(await Upload.findPrevious({ storage, ...other }), [])
  const [previous] = await Upload.findPrevious({ storage, ...one })
  await (await previous.reopen(fileOf(CONTENT), { worker: () => page.worker() })).start().done
  assert.equal(requests.length, 0)
})

test('no credentials go to another place that the service names', async () => {
  for (const place of ['https://evil.example/v1/uploads/a', 'http://service:81/v1/uploads/a']) {
    const model = new Model({ tickets: true })
    model._url = () => place
    const page = new Page(model)
    await assert.rejects(page.upload(fileOf(CONTENT), { token: 'token' }).start().done, (error) => {
      assert.match(error.message, /public_endpoint/)
      return error.code === 'refused'
    })
    assert.ok(page.model.requests.every(({ url }) => url.startsWith('http://service/')))
  }
})

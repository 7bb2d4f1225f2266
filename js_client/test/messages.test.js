// The vectors of the native protocol, which the service is tested with, too.

import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { test } from 'node:test'
import { classify, failureOf } from '../src/core/failures.js'
import { makeRequest, readAnswer, readEvent } from '../src/core/messages.js'

const VECTORS = JSON.parse(await readFile(new URL('../../tests/vectors/native.json', import.meta.url), 'utf8'))
const ID = 'a-0123456789abcdef0123456789abcdef'
const AT = { uploads: 'https://glance.example/v1/uploads', url: `https://glance.example/v1/uploads/${ID}` }

const came = ({ status, headers, document }) => {
  const lower = Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]))
  const text = document ? JSON.stringify(document) : ''
  return readAnswer({ status, header: (name) => lower[name] ?? null, text }, AT.uploads)
}

const vector = (name) => {
  const found = VECTORS.requests.find((each) => each.name === name)
  assert.ok(found, `there is no vector '${name}'`)
  return found.request
}

const same = (made, { method, headers }) => {
  assert.equal(made.method, method)
  assert.deepEqual(Object.entries(made.headers).sort(), [...headers].sort())
}

test('only an upload event describes an upload', () => {
  assert.deepEqual(readEvent({ event: 'upload', data: '{"state":"active"}' }), { state: 'active' })
  assert.equal(readEvent({ event: 'problem', data: '{"state":"active"}' }), null)
  assert.equal(readEvent({ event: 'upload', data: '<html>' }), null)
})

test('a chunk is sent as the service expects', () => {
  const chunk = { do: 'send', start: 0, stop: 1048576, size: 4194304 }
  same(makeRequest(chunk, AT), vector('a chunk says where it belongs'))
})

test('a chunk’s md5 is sent as the service expects', () => {
  const { headers } = makeRequest({ do: 'send', start: 0, stop: 11, size: 11, md5: 'XrY7u+Ae7tCTyyK7j1rNww==' }, AT)
  const read = Object.fromEntries(vector('a chunk may declare its Content-MD5').headers)
  assert.equal(headers['Content-MD5'], read['Content-MD5'])
  assert.equal(headers['Content-Range'], read['Content-Range'])
})

test('the md5 of the image is sent as the service expects', () => {
  const { headers } = makeRequest({ do: 'send', start: 0, stop: 11, size: 11, fileMd5: 'XrY7u+Ae7tCTyyK7j1rNww==' }, AT)
  const read = Object.fromEntries(vector('a chunk may come with digests of the image').headers)
  assert.ok(read['Repr-Digest'].startsWith(headers['Repr-Digest']))
})

test('a description is sent as JSON', () => {
  const description = { size: 4194304, image: { disk_format: 'qcow2', container_format: 'bare', name: 'debian' } }
  const made = makeRequest({ do: 'create' }, { ...AT, description })
  const read = vector('a new image is described in JSON')
  same(made, read)
  assert.deepEqual(JSON.parse(made.body), JSON.parse(read.body))
})

test('a run of zeros is declared as the service expects', () => {
  const { headers } = vector('a run of zeros is declared instead of sent')
  const [, first, last, size] = Object.fromEntries(headers)
    ['Content-Range'].match(/(\d+)-(\d+)\/(\d+)/)
    .map(Number)
  const run = { do: 'send', start: first, stop: last + 1, size, zeros: true }
  const made = makeRequest(run, { ...AT, zerosType: 'application/vnd.resumable-glance.zeros' })
  same(made, { method: 'PATCH', headers: headers.filter(([name]) => name !== 'Content-Length') }) // which the browser adds
  assert.ok(!made.body)
})

test('a ticket is requested as the service expects, and read', () => {
  const made = makeRequest({ do: 'renew' }, { ...AT, url: 'https://glance.example/v1/uploads/a-0123', token: 'token' })
  const read = vector('a new ticket is asked for without a body')
  assert.equal(made.method, read.method)
  assert.equal(made.url, `https://glance.example/v1/uploads/${read.upload_id}/${read.aspect}`)
  assert.equal(made.body, undefined)
  const { reply } = VECTORS.outcomes.find((each) => each.outcome.kind === 'ticket_issued')
  assert.ok(came(reply).document.value)
})

test('a creation has an idempotency key', () => {
  const { headers } = vector('a creation with a key')
  const key = '8e03978e-40d5-43e2'
  same(makeRequest({ do: 'create' }, { ...AT, key, description: {} }), { method: 'POST', headers })
})

test('a ticket is preferred to a token, except for creation', () => {
  const both = { ...AT, token: 'token', ticket: 'ticket' }
  assert.deepEqual(makeRequest({ do: 'get' }, both).headers, { Authorization: 'Bearer ticket' })
  assert.deepEqual(makeRequest({ do: 'renew' }, both).headers, { 'X-Auth-Token': 'token' })
  assert.equal(makeRequest({ do: 'create' }, both).headers['X-Auth-Token'], 'token')
})

for (const { name, outcome, reply } of VECTORS.outcomes)
  test(`an answer is read: ${name}`, () => {
    const read = came(reply)
    assert.equal(classify(read), 'ok')
    if (outcome.kind === 'created') assert.equal(read.location, AT.url)
  })

const MEANT = {
  400: 'fail',
  401: 'renew',
  403: 'fail',
  404: 'gone',
  410: 'gone',
  412: 'fail',
  415: 'fail',
  405: 'fail',
  429: 'retry',
  500: 'retry',
  503: 'retry',
  507: 'retry',
  408: 'retry',
  422: 'retry',
}
const SPECIAL = {
  'chunk-too-large': 'shrink',
  superseded: 'retry',
  'upload-sealed': 'get',
  disconnected: 'retry',
  'body-too-short': 'retry',
}

for (const { name, refusal, reply } of VECTORS.refusals)
  test(`a refusal is understood: ${name}`, () => {
    const read = came(reply)
    assert.equal(read.reason, refusal.reason)
    assert.equal(classify(read), SPECIAL[refusal.reason] ?? MEANT[reply.status] ?? 'fail')
    assert.equal(failureOf(read).message, refusal.detail)
    if (refusal.facts.retry_after) assert.equal(read.retryAfter, refusal.facts.retry_after)
  })

test('a proxy’s page has no reason of the service', () => {
  const read = readAnswer({ status: 502, text: '<html>' })
  assert.equal(read.reason, null)
  assert.equal(classify(read), 'retry')
})

test('an upload is where the service is, or nowhere', () => {
  const named = (location, document = null) =>
    came({ status: 201, headers: location ? { Location: location } : {}, document })
  const own = `https://glance.example/v1/uploads/${ID}`
  for (const location of [own, `/v1/uploads/${ID}`, `//glance.example/v1/uploads/${ID}`])
    assert.deepEqual([named(location).location, named(location).isElsewhere], [own, false])
  assert.equal(named(null, { href: own }).location, own)
  const others = ['https://evil.example/v1/uploads/x', '//evil.example/x', 'http://glance.example/x', 'data:,x']
  for (const location of [...others, 'https://glance.example:444/x', 'https://glance.example@evil.example/x'])
    for (const answer of [named(location), named(null, { href: location })])
      assert.deepEqual([answer.location, answer.isElsewhere], [null, true])
  for (const location of [null, 'https://']) assert.deepEqual(named(location).location, null)
})

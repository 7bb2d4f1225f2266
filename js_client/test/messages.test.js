// The wire vectors of the native dialect, which the service is tested with too: what we send is what it reads, and what
// it answers is what we read.

import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { test } from 'node:test'
import { failure } from '../src/core/failures.js'
import { verdict } from '../src/core/failures.js'
import { answer, lastEvent, request } from '../src/core/messages.js'

const VECTORS = JSON.parse(await readFile(new URL('../../tests/vectors/native.json', import.meta.url), 'utf8'))
const ID = 'a-0123456789abcdef0123456789abcdef'
const AT = { uploads: 'https://glance.example/v1/uploads', url: `https://glance.example/v1/uploads/${ID}` }

const came = ({ status, headers, document }) => {
  const lower = Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]))
  return answer({ status, header: (name) => lower[name] ?? null, text: document ? JSON.stringify(document) : '' })
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

test('the last whole event of a stream is found, however far the stream has come', () => {
  const event = (at, end) => `event: upload${end}data: {"at":${at}}${end}${end}`
  for (const end of ['\n', '\r\n']) {
    const text = `: ping${end}${end}${event(1, end)}${event(2, end)}event: problem${end}data: {"at":3}${end}${end}`
    const found = new Set()
    for (let length = 0; length <= text.length; length++) found.add(lastEvent(text.slice(0, length))?.at)
    assert.deepEqual([...found], [undefined, 1, 2])
  }
  assert.equal(lastEvent('<html>'), null)
})

test('a chunk is written as the service reads it', () => {
  const chunk = { do: 'send', start: 0, stop: 1048576, size: 4194304 }
  same(request(chunk, AT), vector('a chunk says where it belongs'))
})

test('a chunk’s md5 is written as the service reads it', () => {
  const { headers } = request({ do: 'send', start: 0, stop: 11, size: 11, md5: 'XrY7u+Ae7tCTyyK7j1rNww==' }, AT)
  const read = Object.fromEntries(vector('a chunk may declare its Content-MD5').headers)
  assert.equal(headers['Content-MD5'], read['Content-MD5'])
  assert.equal(headers['Content-Range'], read['Content-Range'])
})

test('the md5 of the image is written as the service reads it', () => {
  const { headers } = request({ do: 'send', start: 0, stop: 11, size: 11, whole: 'XrY7u+Ae7tCTyyK7j1rNww==' }, AT)
  const read = Object.fromEntries(vector('a chunk may come with digests of the image').headers)
  assert.ok(read['Repr-Digest'].startsWith(headers['Repr-Digest']))
})

test('a description is sent as JSON', () => {
  const description = { size: 4194304, image: { disk_format: 'qcow2', container_format: 'bare', name: 'debian' } }
  const made = request({ do: 'create' }, { ...AT, description })
  const read = vector('a new image is described in JSON')
  same(made, read)
  assert.deepEqual(JSON.parse(made.body), JSON.parse(read.body))
})

test('a run of zeros is declared as the service reads it', () => {
  const { headers } = vector('a run of zeros is declared instead of sent')
  const [, first, last, size] = Object.fromEntries(headers)
    ['Content-Range'].match(/(\d+)-(\d+)\/(\d+)/)
    .map(Number)
  const run = { do: 'send', start: first, stop: last + 1, size, zeros: true }
  const made = request(run, { ...AT, zeros: 'application/vnd.resumable-glance.zeros' })
  same(made, { method: 'PATCH', headers: headers.filter(([name]) => name !== 'Content-Length') }) // which the browser adds
  assert.ok(!made.body)
})

test('a new ticket is asked for as the service reads it, and is read', () => {
  const made = request({ do: 'renew' }, { ...AT, url: 'https://glance.example/v1/uploads/a-0123', token: 'token' })
  const read = vector('a new ticket is asked for without a body')
  assert.equal(made.method, read.method)
  assert.equal(made.url, `https://glance.example/v1/uploads/${read.upload_id}/${read.aspect}`)
  assert.equal(made.body, undefined)
  const { reply } = VECTORS.outcomes.find((each) => each.outcome.kind === 'renewed')
  assert.ok(came(reply).document.value)
})

test('a creation has a key, so that it can be repeated', () => {
  const { headers } = vector('a creation with a key')
  const key = '8e03978e-40d5-43e2'
  same(request({ do: 'create' }, { ...AT, key, description: {} }), { method: 'POST', headers })
})

test('a ticket goes before a token, and only a token creates', () => {
  const both = { ...AT, token: 'token', ticket: 'ticket' }
  assert.deepEqual(request({ do: 'ask' }, both).headers, { Authorization: 'Bearer ticket' })
  assert.deepEqual(request({ do: 'renew' }, both).headers, { 'X-Auth-Token': 'token' })
  assert.equal(request({ do: 'create' }, both).headers['X-Auth-Token'], 'token')
})

for (const { name, outcome, reply } of VECTORS.outcomes)
  test(`an answer is read: ${name}`, () => {
    const read = came(reply)
    assert.equal(verdict(read), 'done')
    assert.equal(read.state, reply.headers['Upload-State'] ?? null)
    if (outcome.kind === 'created') assert.equal(read.location, AT.url)
  })

const MEANT = {
  400: 'give up',
  401: 'renew',
  403: 'give up',
  404: 'gone',
  410: 'gone',
  412: 'give up',
  415: 'give up',
  405: 'give up',
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
  'upload-sealed': 'ask',
  disconnected: 'retry',
  'body-too-short': 'retry',
}

for (const { name, refusal, reply } of VECTORS.refusals)
  test(`a refusal is understood: ${name}`, () => {
    const read = came(reply)
    assert.equal(read.reason, refusal.reason)
    assert.equal(verdict(read), SPECIAL[refusal.reason] ?? MEANT[reply.status] ?? 'give up')
    assert.equal(failure(read).message, refusal.detail)
    if (refusal.facts.retry_after) assert.equal(read.retryAfter, refusal.facts.retry_after)
  })

test('a page of a proxy is no answer of the service', () => {
  const read = answer({ status: 502, text: '<html>' })
  assert.equal(read.reason, null)
  assert.equal(verdict(read), 'retry')
})

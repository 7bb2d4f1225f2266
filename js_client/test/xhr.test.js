// The transport, with a fake of XMLHttpRequest that a test drives.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { xhr } from '../src/worker/xhr.js'

class FakeRequest {
  upload = {}
  responseText = ''
  open() {}
  setRequestHeader() {}
  getResponseHeader = (name) => `the ${name}`
  send() {
    FakeRequest.sent = this
  }
  abort() {
    this.onabort()
  }
}

globalThis.XMLHttpRequest = FakeRequest

const send = (more = {}) => {
  const controller = new AbortController()
  const response = xhr({ method: 'GET', url: 'http://service', headers: {}, signal: controller.signal, ...more })
  return { response, request: FakeRequest.sent, controller }
}

test('each part of a response is passed on once', async () => {
  const parts = []
  const { response, request } = send({ onText: (text) => parts.push(text) })
  for (const text of ['one', 'one two', 'one two three']) {
    request.responseText = text
    request.onprogress()
  }
  request.status = 200
  request.onload()
  assert.deepEqual(parts, ['one', ' two', ' three'])
  const { status, text, header } = await response
  assert.deepEqual([status, text, header('location')], [200, 'one two three', 'the location'])
})

test('a lost or aborted request has status 0', async () => {
  const lost = send()
  lost.request.onerror()
  assert.equal((await lost.response).status, 0)
  const aborted = send()
  aborted.controller.abort()
  assert.equal((await aborted.response).status, 0)
})

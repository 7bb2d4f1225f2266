// The adapters of both dialogs: what they send, what they leave to Horizon, and when their promises are settled.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { page } from './page.js'

const GRANT = { id: 'a-1', endpoint: 'https://up', url: 'https://up/v1/uploads/a-1', ticket: 't' }
const ORIGINAL = 'the result of Horizon’s own function'
const file = () => new File(['12345'], 'disk.raw')
const image = () => ({ name: 'n', source_type: 'file-direct', architecture: '', data: file() })
const isSettled = (promise) => {
  const later = new Promise((resolve) => setImmediate(resolve, false))
  return Promise.race([promise.then(() => true, () => true), later]) // prettier-ignore
}

/** A page with fakes of the other scripts; `started` has the uploads that an adapter starts. */
const dialogPage = (globals) => {
  const made = page(globals)
  const started = []
  const start = (file, grant, name) => {
    const upload = Object.assign(new EventTarget(), { phase: 'uploading' })
    const end = (phase) => {
      upload.phase = phase
      upload.dispatchEvent(new Event('end'))
    }
    const entry = { id: grant.id, name, upload, grant, stored: false, end }
    started.push(entry)
    return entry
  }
  const progressWidget = () => ({ remove() {}, focus() {} })
  Object.assign(made.plugin, { uploads: { start, running: new Map() }, dom: { toast() {} }, progressWidget })
  return { ...made, started }
}

/** Angular's service for Glance with our decorator; `respond` answers Horizon's REST request for a new image. */
const angularService = (respond) => {
  let decorator
  const $provide = { decorator: (_, decorate) => (decorator = decorate) }
  const angular = { module: () => ({ config: (configure) => configure($provide) }) }
  const { started, run } = dialogPage({ angular })
  run('angular_dialog.js')
  const requests = []
  const put = async (url, body, config) => {
    requests.push({ url, body, config })
    return url === '/api/glance/images/' ? respond() : { status: 204 }
  }
  const $q = {
    reject: (reason) => Promise.reject(reason),
    defer: () => {
      const deferred = {}
      deferred.promise = new Promise((resolve, reject) => Object.assign(deferred, { resolve, reject }))
      return deferred
    },
  }
  const injected = {
    $delegate: { createImage: () => ORIGINAL },
    $injector: { get: () => ({ getTop: () => undefined }) },
    $q,
    $rootScope: { $applyAsync: (work) => work() },
    'horizon.framework.util.http.service': { put },
    'horizon.framework.widgets.toast.service': { add() {} },
  }
  return { started, requests, service: decorator(...decorator.$inject.map((name) => injected[name])) }
}

test('Angular: legacy uploads and images from a URL are left to Horizon', () => {
  const { service, requests } = angularService()
  assert.equal(service.createImage({ source_type: 'file-legacy', data: file() }), ORIGINAL)
  assert.equal(service.createImage({ source_type: 'url' }), ORIGINAL)
  assert.deepEqual(requests, [])
})

test('Angular: Horizon gets the name and size of the file, not the file', async () => {
  const { service, requests } = angularService(() => ({ data: { id: 'i', resumable_upload: GRANT } }))
  service.createImage(image())
  assert.equal(requests[0].body.data, 'disk.raw')
  assert.equal(requests[0].config.headers['X-Resumable-Glance-Size'], '5')
  assert.ok(!('architecture' in requests[0].body))
})

test('Angular: the promise resolves with Horizon’s response when the image is active', async () => {
  const response = { data: { id: 'i', resumable_upload: GRANT } }
  const { service, started } = angularService(() => response)
  const promise = service.createImage(image())
  assert.equal(await isSettled(promise), false)
  assert.equal(started[0].grant, GRANT)
  started[0].end('failed')
  assert.equal(await isSettled(promise), false)
  started[0].end('active')
  assert.equal(await promise, response)
})

test('Angular: the promise rejects when the upload is cancelled', async () => {
  const { service, started } = angularService(() => ({ data: { id: 'i', resumable_upload: GRANT } }))
  const promise = service.createImage(image())
  await isSettled(promise)
  started[0].end('cancelled')
  await assert.rejects(promise, ({ data }) => data.length > 0)
})

test('Angular: a refusal’s sentence goes into the dialog', async () => {
  const { service, started } = angularService(() => Promise.reject({ status: 413, data: 'There is no room.' }))
  await assert.rejects(service.createImage(image()), { data: 'There is no room.' })
  assert.deepEqual(started, [])
})

test('Angular: without the service, the file goes to Glance', async () => {
  const response = { data: { id: 'i', upload_url: 'https://glance/file', token_id: 'token' } }
  const { service, started, requests } = angularService(() => response)
  assert.equal(await service.createImage(image()), response)
  assert.deepEqual(started, [])
  assert.equal(requests[1].url, 'https://glance/file')
  assert.equal(requests[1].config.headers['X-Auth-Token'], 'token')
  assert.equal(requests[1].config.external, true)
})

test('Angular: an image without a file needs no upload', async () => {
  const response = { data: { id: 'i' } }
  const { service, started, requests } = angularService(() => response)
  assert.equal(await service.createImage(image()), response)
  assert.deepEqual([started.length, requests.length], [0, 1])
})

/** Horizon's modals with our adapter; `token` is the response header X-Auth-Token. */
const djangoModals = (token) => {
  const anything = new Proxy(function () {}, {
    get: (_, name) => (name === Symbol.toPrimitive ? () => '' : anything),
    apply: () => anything,
  })
  const Deferred = () => {
    const deferred = {}
    const promise = new Promise((resolve) => (deferred.resolve = resolve))
    return { ...deferred, promise: () => promise }
  }
  const { horizon, started, run } = dialogPage({ $: Object.assign(() => anything, { Deferred }) })
  const calls = []
  const fileUpload = (...given) => {
    calls.push(given)
    return ORIGINAL
  }
  horizon.modals = { bar: anything, fileUpload, prepareFileUpload: file, progress_bar() {} }
  run('django_form.js')
  return { started, calls, modals: horizon.modals, jqXHR: { getResponseHeader: () => token } }
}

test('Django: a response with a Keystone token is left to Horizon', () => {
  const { started, calls, modals, jqXHR } = djangoModals('gAAAA')
  assert.equal(modals.fileUpload('https://glance/v2/images/i/file', file(), jqXHR), ORIGINAL)
  assert.equal(calls.length, 1)
  assert.deepEqual(started, [])
})

test('Django: a response with a ticket starts an upload; the promise resolves when the image is active', async () => {
  const { started, calls, modals, jqXHR } = djangoModals('Bearer t.i.c')
  const promise = modals.fileUpload(GRANT.url, file(), jqXHR)
  assert.deepEqual({ ...started[0].grant }, { ...GRANT, ticket: 't.i.c' })
  started[0].end('failed')
  assert.equal(await isSettled(promise), false)
  started[0].end('active')
  await promise
  assert.deepEqual(calls, [])
})

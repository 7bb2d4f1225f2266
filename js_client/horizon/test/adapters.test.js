// The adapters to both of Horizon's dialogs, without a browser: what goes our way, what goes Horizon's, what is said.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import vm from 'node:vm'
import { PHASES, SENTENCES } from '../../src/core/vocabulary.js'

const SCRIPTS = new URL('../resumable_glance_dashboard/static/resumable_glance_dashboard/', import.meta.url)
const GRANT = { id: 'a-1', endpoint: 'https://up', url: 'https://up/v1/uploads/a-1', ticket: 't' }

/** A page with Horizon's globals, as far as the adapters need them, and our scripts in it. */
const page = (...scripts) => {
  const begun = []
  const uploads = {
    begin: (file, grant, name) => {
      const upload = Object.assign(new EventTarget(), { phase: 'uploading' })
      const entry = { id: grant.id, name, upload, file, grant, kept: false }
      begun.push(entry)
      entry.end = (phase) => {
        upload.phase = phase
        upload.dispatchEvent(new Event('end'))
      }
      return entry
    },
  }
  const context = vm.createContext({
    horizon: {},
    gettext: (text) => text,
    ngettext: (one, many, count) => (count === 1 ? one : many),
    interpolate: (text, values) => text.replace(/%\((\w+)\)s/g, (_, name) => values[name]),
    document: { querySelectorAll: () => [], querySelector: () => null },
    File,
    isFinite,
  })
  const run = (name) => vm.runInContext(readFileSync(new URL(name, SCRIPTS), 'utf8'), context)
  run('words.js')
  Object.assign(context.horizon.resumableGlance, { uploads, toast() {}, meter: () => ({ remove() {}, focus() {} }) })
  return { context, begun, run: () => scripts.forEach(run) }
}

/** Angular's service for Glance, decorated. `answer` is what Horizon's REST API says to a new image. */
const glance = (answer) => {
  const { context, begun, run } = page('angular.js')
  const asked = []
  const toasts = []
  let decorator
  const provide = { decorator: (name, made) => (decorator = made) }
  context.angular = {
    extend: Object.assign,
    isString: (value) => typeof value === 'string',
    module: () => ({ config: (configure) => configure(provide) }),
  }
  run()
  const promises = {
    reject: (reason) => Promise.reject(reason),
    defer: () => {
      const deferred = {}
      deferred.promise = new Promise((resolve, reject) => Object.assign(deferred, { resolve, reject }))
      return deferred
    },
  }
  const horizons = { createImage: () => 'Horizon’s own' }
  const api = {
    put: async (url, body, config) => {
      asked.push({ url, body, config })
      return url === '/api/glance/images/' ? answer() : { status: 204 }
    },
  }
  const parts = {
    $delegate: horizons,
    $injector: { get: () => ({ getTop: () => undefined }) },
    $q: promises,
    $rootScope: { $applyAsync: (work) => work() },
    'horizon.framework.util.http.service': api,
    'horizon.framework.widgets.toast.service': { add: (...said) => toasts.push(said) },
  }
  return { begun, asked, toasts, service: decorator(...decorator.$inject.map((name) => parts[name])) }
}

const file = () => new File(['12345'], 'disk.raw')
const image = (more) => ({ name: 'n', source_type: 'file-direct', architecture: '', data: file(), ...more })
const settled = (promise) => Promise.race([promise.then(() => true, () => true), new Promise((done) => setTimeout(done, 5, false))])

test('Angular: legacy uploads and images from an address are none of our business', () => {
  const { service, asked } = glance()
  assert.equal(service.createImage({ source_type: 'file-legacy', data: file() }), 'Horizon’s own')
  assert.equal(service.createImage({ source_type: 'url' }), 'Horizon’s own')
  assert.deepEqual(asked, [])
})

test('Angular: the name and the size of the file go to Horizon, the file does not', async () => {
  const { service, asked } = glance(() => ({ data: { id: 'i', resumable_upload: GRANT } }))
  service.createImage(image())
  assert.equal(asked[0].body.data, 'disk.raw')
  assert.equal(asked[0].config.headers['X-Resumable-Glance-Size'], '5')
  assert.ok(!('architecture' in asked[0].body))
})

test('Angular: the promise waits for the image to be active, and gives what Horizon answered first', async () => {
  const response = { data: { id: 'i', resumable_upload: GRANT } }
  const { service, begun } = glance(() => response)
  const promise = service.createImage(image())
  assert.equal(await settled(promise), false)
  assert.equal(begun[0].grant, GRANT)
  begun[0].end('failed')
  assert.equal(await settled(promise), false, 'a failure stays in the meter')
  begun[0].end('active')
  assert.equal(await promise, response)
})

test('Angular: a cancelled upload is no success', async () => {
  const { service, begun } = glance(() => ({ data: { id: 'i', resumable_upload: GRANT } }))
  const promise = service.createImage(image())
  await settled(promise)
  begun[0].end('cancelled')
  await assert.rejects(promise, ({ data }) => /cancelled/.test(data))
})

test('Angular: what the service says goes into the dialog', async () => {
  const { service, begun } = glance(() => Promise.reject({ status: 413, data: 'There is no room.' }))
  await assert.rejects(service.createImage(image()), { data: 'There is no room.' })
  assert.deepEqual(begun, [])
})

test('Angular: without the service the file goes to Glance, as Horizon does it', async () => {
  const response = { data: { id: 'i', upload_url: 'https://glance/file', token_id: 'token' } }
  const { service, begun, asked } = glance(() => response)
  assert.equal(await service.createImage(image()), response)
  assert.deepEqual(begun, [])
  assert.equal(asked[1].url, 'https://glance/file')
  assert.equal(asked[1].config.headers['X-Auth-Token'], 'token')
  assert.equal(asked[1].config.external, true)
})

/** Django's modals with our adapter; `token` is the response header X-Auth-Token. */
const modals = (token) => {
  const { context, begun, run } = page('django.js')
  const calls = []
  const nothing = new Proxy(function () {}, { get: (_, name) => (name === Symbol.toPrimitive ? () => '' : nothing), apply: () => nothing })
  context.horizon.modals = {
    fileUpload: (...given) => (calls.push(given), 'Horizon’s own'),
    prepareFileUpload: () => file(),
    progress_bar: () => (context.horizon.modals.bar = nothing),
  }
  context.$ = Object.assign(() => nothing, {
    Deferred: () => {
      const deferred = {}
      const promise = new Promise((resolve) => (deferred.resolve = resolve))
      return { ...deferred, promise: () => promise }
    },
  })
  run()
  return { begun, calls, modals: context.horizon.modals, jqXHR: { getResponseHeader: () => token } }
}

test('Django: an answer with a Keystone token is Horizon’s own business', () => {
  const { begun, calls, modals: patched, jqXHR } = modals('gAAAA')
  assert.equal(patched.fileUpload('https://glance/v2/images/i/file', file(), jqXHR), 'Horizon’s own')
  assert.equal(calls.length, 1)
  assert.deepEqual(begun, [])
})

test('Django: an answer with a ticket begins a resumable upload, which ends with an active image', async () => {
  const { begun, calls, modals: patched, jqXHR } = modals('Bearer t.i.c')
  const promise = patched.fileUpload(GRANT.url, file(), jqXHR)
  assert.deepEqual({ ...begun[0].grant }, { ...GRANT, ticket: 't.i.c' })
  begun[0].end('failed')
  assert.equal(await settled(promise), false)
  begun[0].end('active')
  await promise
  assert.deepEqual(calls, [])
})

test('words: sizes, times and percent never promise too much', () => {
  const { words } = page().context.horizon.resumableGlance
  assert.equal(words.bytes(0), '0 bytes')
  assert.equal(words.bytes(1536), '1.5 KB')
  assert.equal(words.bytes(40 * 1024 ** 3), '40.0 GB')
  assert.equal(words.duration(0.2), '1 second left')
  assert.equal(words.duration(3600), '60 minutes left')
  assert.equal(words.duration(7200), '2 hours left')
  assert.equal(words.percent(0.9999), '99 %')
  assert.equal(words.percent(1), '100 %')
  const progress = { sent: 1024, size: 2048, rate: 512, eta: 2, phase: 'uploading' }
  assert.equal(words.amount(progress), '1.0 KB of 2.0 KB · 512 bytes/s · 2 seconds left')
})

test('words: what the client says in its own words is there to be translated', () => {
  const { words } = page().context.horizon.resumableGlance
  const marked = readFileSync(new URL('words.js', SCRIPTS), 'utf8')
  for (const sentence of Object.values(SENTENCES)) assert.ok(marked.includes(`gettext('${sentence}')`), sentence)
  assert.equal(words.told('The connection is lost.'), 'The connection is lost.')
  assert.equal(words.told(null), '')
})

test('words: every phase has one, and a failure says what can be done', () => {
  const { words } = page().context.horizon.resumableGlance
  for (const phase of PHASES) assert.ok(words.phase(phase), phase)
  assert.match(words.failure({ code: 'unauthenticated', message: 'not logged in' }), /^Your session has ended\. Sign in/)
  assert.equal(words.failure({ code: 'another', message: 'No.', advice: 'Do.' }), 'No. Do.')
  assert.match(words.failure({ code: 'refused', message: 'No.' }, 'It is no qcow2.'), /^It is no qcow2\. Cancel/)
})

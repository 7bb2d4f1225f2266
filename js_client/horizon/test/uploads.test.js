// The page's uploads: whom they are remembered for, and that nothing but an id of an upload becomes part of an address.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { page } from './page.js'

const ID = `a-${'0a'.repeat(16)}`
const NOT_AN_ID = [
  '',
  '.',
  '..',
  `../${ID}`,
  `${ID}/ticket`,
  `${ID}?x`,
  `${ID}\n`,
  ID.slice(1),
  `${ID}0`,
  ID.toUpperCase(),
]
const GRANT = { id: ID, endpoint: 'https://up', url: `https://up/v1/uploads/${ID}`, ticket: 't' }

/** A page with a client that does nothing, and a Horizon that answers `told`; `requests`, `made` and `asked` fill. */
const uploadsPage = (told = { identity: 'ada', items: [] }) => {
  const requests = []
  const made = []
  const asked = { found: [], forgotten: [] }
  const submitted = []
  class Upload extends EventTarget {
    constructor(source, options) {
      super()
      Object.assign(this, { source, options, phase: 'uploading' })
      made.push(this)
    }
    start() {}
    pause() {
      this.phase = 'paused'
    }
    static async findPrevious(options) {
      asked.found.push(await options.identity())
      return []
    }
    static async forgetPrevious(options) {
      asked.forgotten.push([await options.identity(), made.map(({ phase }) => phase)])
    }
  }
  const { horizon, plugin, run } = page({
    ResumableGlance: { formatSize: String, Upload },
    WEBROOT: '/',
    Event,
    fetch: async (path, { method }) => {
      requests.push(`${method} ${path}`)
      return { ok: true, status: 200, json: async () => told }
    },
    document: {
      cookie: '',
      addEventListener: (type, listener) => type === 'submit' && submitted.push(listener),
      querySelectorAll: () => [],
      querySelector: () => null,
    },
  })
  horizon.conf = { static_url: '/static/' }
  Object.assign(plugin, { filePicker: { handleOf: () => undefined } })
  run('uploads.js')
  return { uploads: plugin.uploads, requests, made, asked, submit: (event) => submitted[0](event) }
}

test('uploads are remembered for whom Horizon tells', async () => {
  const { uploads, made, requests, asked } = uploadsPage()
  uploads.start(new File(['1'], 'disk.raw'), GRANT, 'n')
  assert.equal(await made[0].options.identity(), 'ada')
  assert.equal(await made[0].options.identity(), 'ada')
  assert.deepEqual(requests, ['GET /api/resumable_glance/uploads/'])
  await uploads.listOthers()
  assert.deepEqual(asked.found, ['ada'])
})

test('only an id of an upload becomes part of an address', async () => {
  for (const id of NOT_AN_ID) {
    const { uploads, made, requests } = uploadsPage()
    const url = `https://up/v1/uploads/${id}`
    uploads.start(new File(['1'], 'disk.raw'), { ...GRANT, url }, 'n')
    if (!['', `../${ID}`].includes(id))
      await assert.rejects(async () => made[0].options.renewTicket(url), /no such upload/)
    await assert.rejects(uploads.cancel(id), /no such upload/)
    await assert.rejects(uploads.resume({ id, size: 1 }, new File(['1'], 'disk.raw')), /no such upload/)
    uploads.renewTokens([{ id, state: 'sealed' }])
    await new Promise((resolve) => setTimeout(resolve))
    assert.deepEqual(requests, [], id)
  }
  const { uploads, made, requests } = uploadsPage({ ticket: 't' })
  uploads.start(new File(['1'], 'disk.raw'), GRANT, 'n')
  await made[0].options.renewTicket(GRANT.url)
  assert.deepEqual(requests, [`POST /api/resumable_glance/uploads/${ID}/ticket/`])
})

test('signing out pauses and forgets, and then happens', async () => {
  const { uploads, asked, submit } = uploadsPage()
  uploads.start(new File(['1'], 'disk.raw'), GRANT, 'n')
  const happened = []
  const form = (action) => ({
    matches: (selector) => selector === 'form[action*="logout"]' && action.includes('logout'),
    submit: () => happened.push(action),
  })
  let prevented = 0
  const event = (action) => ({ target: form(action), preventDefault: () => (prevented += 1) })
  await submit(event('/project/images/'))
  assert.deepEqual([prevented, asked.forgotten], [0, []])
  await submit(event('/auth/logout/'))
  assert.deepEqual([prevented, asked.forgotten, happened], [1, [['ada', ['paused']]], ['/auth/logout/']])
})

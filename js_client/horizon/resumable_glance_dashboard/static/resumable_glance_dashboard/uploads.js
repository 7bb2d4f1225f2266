// The user's uploads: those that this page runs, and all others that are not final.
//
// Speaks to Horizon with the session, and through the client to the service with tickets. Never uses Angular's $http,
// which logs the user out on any 401.
;(() => {
  'use strict'

  const { filePicker, messages } = horizon.resumableGlance
  const UPLOAD_ID = /^[a-z0-9]{1,16}-[0-9a-f]{32}$/ // another text could lead to another address
  const FINAL_STATES = ['active', 'failed', 'cancelled', 'expired', 'joined']
  // id -> { id, name, upload: the client's, lastError: the service's sentence, stored: the next page can read the file }
  const running = new Map()
  const listeners = new Set()
  const renewed = new Set() // ids
  let identity = null // whom this browser remembers uploads for

  // Requests to Horizon

  function pathOf(id) {
    if (!UPLOAD_ID.test(id)) throw Object.assign(new Error(gettext('There is no such upload.')), { status: 404 })
    return `${id}/`
  }

  function csrfToken() {
    const found = document.cookie.match(/(?:^|; )csrftoken=([^;]*)/)
    return found ? decodeURIComponent(found[1]) : ''
  }

  /**
   * Send a request about all uploads, or about the one with this id. Return the response's JSON; throws an Error with
   * `status` and Horizon's sentence.
   */
  async function request(method, id = null, action = '') {
    const path = id === null ? '' : `${pathOf(id)}${action}`
    const response = await fetch(`${WEBROOT}api/resumable_glance/uploads/${path}`, {
      method,
      credentials: 'same-origin',
      redirect: 'error',
      headers: { 'X-Requested-With': 'XMLHttpRequest', 'X-CSRFToken': csrfToken() },
    })
    const body = response.status === 204 ? null : await response.json().catch(() => null)
    if (response.ok) return body
    const sentence = (typeof body === 'string' && body) || gettext('The dashboard does not respond.')
    throw Object.assign(new Error(sentence), { status: response.status })
  }

  function idOf(url) {
    return url.slice(url.lastIndexOf('/') + 1)
  }

  async function renewTicket(url) {
    const grant = await request('POST', idOf(url), 'ticket/')
    return { value: grant.ticket }
  }

  async function list() {
    const told = await request('GET')
    identity = told.identity
    return told.items
  }

  async function whoAmI() {
    if (!identity) await list()
    return identity
  }

  // Uploads of this page

  function clientOptions() {
    const worker = `${horizon.conf.static_url}resumable_glance_dashboard/client/resumable-glance.worker.js`
    return { identity: whoAmI, renewTicket, worker }
  }

  function notify() {
    listeners.forEach((listener) => listener())
  }

  function run(id, name, upload, stored) {
    const entry = { id, name, upload, lastError: '', stored }
    running.set(id, entry)
    upload.addEventListener('progress', notify)
    upload.addEventListener('end', () => {
      if (upload.phase === 'failed') fetchLastError(entry)
      else running.delete(id)
      notify()
    })
    upload.start()
    notify()
    return entry
  }

  /** Get the service's reason for a failure, which only the upload's description has. */
  async function fetchLastError(entry) {
    try {
      entry.lastError = (await request('GET', entry.id)).last_error
      entry.upload.dispatchEvent(new Event('progress')) // redraws
    } catch {
      // The client's message remains.
    }
  }

  /** Send a file; `grant` is Horizon's: { id, endpoint, url, ticket }. */
  function start(file, grant, name) {
    const { id, endpoint, url, ticket } = grant
    const handle = filePicker.handleOf(file)
    const options = { ...clientOptions(), endpoint, url, ticket, image: { name }, guard: !handle }
    return run(id, name, new ResumableGlance.Upload(handle || file, options), !!handle)
  }

  // Uploads of other pages, computers and clients

  /** The uploads that are not final and not of this page; `record` is what this browser has stored, or null. */
  async function listOthers() {
    const items = await list()
    const records = await ResumableGlance.Upload.findPrevious(clientOptions())
    return items
      .filter((item) => !FINAL_STATES.includes(item.state) && !running.has(item.id))
      .map((item) => ({ ...item, record: records.find((each) => idOf(each.url) === item.id) || null }))
  }

  /**
   * Give the service this session's token for uploads that it is saving, once each: the token of the session that
   * started an upload may have expired.
   */
  function renewTokens(items) {
    for (const { id, state } of items) {
      if (state === 'receiving' || renewed.has(id)) continue
      renewed.add(id)
      request('POST', id, 'ticket/').catch(() => {}) // the upload goes on waiting for a token
    }
  }

  /** Whether an upload can be resumed without a click: its file is stored and may be read. */
  async function resumesAlone(item) {
    const handle = item.record?.handle
    return !!handle && (!handle.queryPermission || (await handle.queryPermission({ mode: 'read' })) === 'granted')
  }

  /** Resume another page's upload, with `file` if the user had to choose it again. */
  async function resume(item, file) {
    if (running.has(item.id)) return running.get(item.id)
    if (!item.record) return resumeUnknown(item, file)
    const stored = !file && !!item.record.handle
    const upload = await item.record.reopen(file, { guard: !stored })
    return running.get(item.id) || run(item.id, item.name, upload, stored)
  }

  /** Resume an upload of which this browser has no record. */
  async function resumeUnknown(item, file) {
    if (file.size !== item.size) {
      const sentence = messages.format(gettext('%(name)s has a different size.'), { name: file.name })
      throw Object.assign(new Error(sentence), { code: 'file-changed' })
    }
    return start(file, await request('POST', item.id, 'ticket/'), item.name)
  }

  /** Cancel an upload; the service removes its bytes and its image. */
  async function cancel(id) {
    const entry = running.get(id)
    if (entry) {
      entry.upload.cancel() // also after a failure
      return
    }
    await request('DELETE', id)
    const records = await ResumableGlance.Upload.findPrevious(clientOptions())
    records.filter((each) => idOf(each.url) === id).forEach((each) => each.forget())
    notify()
  }

  // Signing out

  /**
   * Forget the uploads of this user and project, and pause those of this page. They are still at the service: after the
   * next login the header offers them, and asks for their files.
   */
  async function forget() {
    for (const { upload } of running.values()) upload.pause()
    await ResumableGlance.Upload.forgetPrevious(clientOptions())
  }

  document.addEventListener('submit', async (event) => {
    const form = event.target
    if (!form.matches('form[action*="logout"]')) return
    event.preventDefault()
    await forget().catch(() => {}) // signing out does not depend on it
    form.submit()
  })

  horizon.resumableGlance.uploads = {
    cancel,
    listOthers,
    onChange: (listener) => listeners.add(listener),
    renewTokens,
    resume,
    resumesAlone,
    running,
    start,
  }
})()

// The header indicator, on every page: uploads that run and uploads that can be resumed; hidden without any.
;(() => {
  'use strict'

  const { dom, messages, progressWidget, uploads } = horizon.resumableGlance
  const REFRESH_INTERVAL = 5000 // milliseconds, while the list is open
  let root, opener, label, list
  let others = [] // uploads that this page does not run
  let timer = null
  const rows = new Map() // id -> { node, version }; a row is drawn again when its version changes

  function isOpen() {
    return opener.getAttribute('aria-expanded') === 'true'
  }

  function setOpen(open) {
    opener.setAttribute('aria-expanded', String(open))
    dom.setHidden(list, !open)
    if (open) refresh()
  }

  function showError(error) {
    dom.toast('danger', messages.failure(error))
  }

  async function resume(item, file) {
    try {
      const { name, upload } = await uploads.resume(item, file)
      upload.addEventListener('end', () => {
        if (upload.phase !== 'active') return
        dom.toast('success', messages.format(gettext('Image %(name)s is complete.'), { name }))
      })
      others = others.filter((each) => each.id !== item.id)
      draw()
    } catch (error) {
      showError(error)
    }
  }

  // Rows

  /** The row of an upload that this page does not run. */
  function otherUpload(item) {
    const interrupted = item.state === 'receiving'
    const bar = dom.element('div', `progress-bar ${interrupted ? 'progress-bar-warning' : ''}`)
    bar.style.width = `${messages.percent(item.size ? item.received / item.size : 0)}%`
    const frame = dom.element('div', 'progress')
    frame.append(bar)
    const line = dom.element('div', 'rg-progress-line')
    line.append(
      dom.element('span', 'rg-progress-phase', messages.STATES[item.state]),
      dom.element('span', 'rg-progress-amount', messages.part(item.received, item.size)),
    )
    const buttons = dom.element('div', 'rg-progress-buttons')
    if (interrupted) buttons.append(item.record?.handle ? resumeButton(item) : fileButton(item))
    buttons.append(
      dom.button(gettext('Cancel Upload'), 'trash', () => uploads.cancel(item.id).then(refresh, showError)),
    )
    const row = dom.element('div', 'rg-progress')
    row.append(dom.element('div', 'rg-progress-heading', item.name || item.id), frame, line, buttons)
    return row
  }

  function resumeButton(item) {
    return dom.button(gettext('Resume'), 'play', () => resume(item), 'btn-primary')
  }

  function fileButton(item) {
    const input = dom.element('input', 'hidden')
    input.type = 'file'
    input.setAttribute('data-resumable-glance-resume', item.id)
    input.addEventListener('change', () => resume(item, input.files[0]))
    input.addEventListener('click', (event) => event.stopPropagation())
    const made = dom.element('span')
    made.append(
      dom.button(gettext('Choose the File to Resume'), 'play', () => input.click(), 'btn-primary'),
      input,
    )
    return made
  }

  function putRow(id, version, build) {
    const row = rows.get(id)
    if (row?.version === version) return
    const node = dom.element('div', 'rg-indicator-item')
    node.dataset.upload = id
    node.append(build())
    if (row) row.node.replaceWith(node)
    else list.insertBefore(node, list.lastElementChild)
    rows.set(id, { node, version })
  }

  function removeRowsExcept(ids) {
    for (const [id, { node }] of rows) {
      if (ids.has(id)) continue
      node.remove()
      rows.delete(id)
    }
  }

  // The indicator

  function draw() {
    if (!root) return
    const running = [...uploads.running.values()]
    const idle = others.filter((item) => !uploads.running.has(item.id))
    for (const entry of running) putRow(entry.id, entry.upload, () => progressWidget(entry, entry.name))
    for (const item of idle) putRow(item.id, `${item.state} ${item.received}`, () => otherUpload(item))
    const ids = new Set([...running, ...idle].map(({ id }) => id))
    removeRowsExcept(ids)
    label.textContent = summary(running, idle)
    root.hidden = !ids.size
    if (!ids.size) setOpen(false)
  }

  function summary(running, idle) {
    const texts = []
    if (running.length) {
      const count = running.length
      const progress = running.map(({ upload }) => upload.progress)
      const size = progress.reduce((sum, each) => sum + each.size, 0)
      const done = progress.reduce((sum, each) => sum + each.fraction * each.size, 0)
      const share = `${messages.percent(size ? done / size : 0)} %`
      texts.push(
        messages.format(ngettext('%(count)s upload, %(share)s', '%(count)s uploads, %(share)s', count), {
          count,
          share,
        }),
      )
    }
    const interrupted = idle.filter(({ state }) => state === 'receiving').length
    if (interrupted) {
      const pattern = ngettext('%(count)s upload to resume', '%(count)s uploads to resume', interrupted)
      texts.push(messages.format(pattern, { count: interrupted }))
    }
    if (!texts.length && idle.length) {
      texts.push(
        messages.format(ngettext('%(count)s upload', '%(count)s uploads', idle.length), { count: idle.length }),
      )
    }
    return texts.join(' · ')
  }

  /** Get the other uploads from Horizon; rarely, because each request extends the user's session. */
  async function refresh() {
    clearTimeout(timer)
    try {
      others = await uploads.listOthers()
    } catch {
      return // the session may have expired
    }
    uploads.renewTokens(others)
    draw()
    if (isOpen() && others.length) timer = setTimeout(refresh, REFRESH_INTERVAL)
  }

  /** Resume the last page's uploads whose files the browser can still read. */
  async function resumeAll() {
    for (const item of others) {
      if (item.state === 'receiving' && (await uploads.resumesAlone(item))) resume(item)
    }
  }

  function build(element) {
    root = element
    opener = dom.element('button', 'btn btn-link rg-indicator-opener')
    opener.type = 'button'
    opener.setAttribute('aria-expanded', 'false')
    opener.setAttribute('aria-controls', 'resumable-glance-list')
    label = dom.element('span', 'rg-indicator-label')
    opener.append(dom.element('span', 'fa fa-cloud-upload'), ' ', label, ' ', dom.element('span', 'fa fa-caret-down'))
    opener.addEventListener('click', (event) => {
      event.preventDefault()
      event.stopPropagation()
      setOpen(!isOpen())
    })
    list = dom.element('div', 'dropdown-menu dropdown-menu-right rg-indicator-list hidden')
    list.id = 'resumable-glance-list'
    list.setAttribute('role', 'region')
    list.setAttribute('aria-label', gettext('Image uploads'))
    list.addEventListener('click', (event) => event.stopPropagation())
    const all = dom.element('a', 'btn btn-link rg-indicator-all', gettext('All image uploads'))
    all.href = `${WEBROOT}project/image_uploads/`
    list.append(all)
    root.append(opener, list)
    root.addEventListener('keydown', (event) => {
      if (event.key === 'Escape' && isOpen()) {
        setOpen(false)
        opener.focus()
      }
    })
    refresh().then(() => {
      if (root.dataset.autoResume === 'true') resumeAll()
    })
  }

  /** Open the list at an upload. */
  function show(id) {
    setOpen(true)
    const row = rows.get(id)
    row?.node.scrollIntoView({ block: 'nearest' })
    row?.node.querySelector('button:not(.hidden)')?.focus()
  }

  document.addEventListener('click', (event) => {
    if (!root) return
    const link = event.target.closest('a.resumable-glance-resume') // in the table of uploads
    if (link) {
      event.preventDefault()
      show(link.getAttribute('href').replace('#resume-upload=', ''))
    } else if (isOpen()) {
      setOpen(false)
    }
  })

  horizon.addInitFunction(() => {
    uploads.onChange(draw)
    const navigation = document.querySelector('.navbar')
    if (!navigation) return // the login page
    // Horizon loads this part of the header after the page.
    const look = () => {
      const element = document.getElementById('resumable-glance-indicator')
      if (element && element !== root) {
        rows.clear()
        build(element)
      }
    }
    new MutationObserver(look).observe(navigation, { childList: true, subtree: true })
    look()
  })
})()

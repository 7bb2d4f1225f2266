// The progress of one upload and its buttons, in both dialogs and in the header.
;(() => {
  'use strict'

  const { dom, messages, uploads } = horizon.resumableGlance
  const BAR_CLASSES = {
    active: 'progress-bar-success',
    failed: 'progress-bar-danger',
    paused: 'progress-bar-warning',
  }
  const ANIMATED = ['preparing', 'hashing', 'uploading', 'handing over', 'verifying', 'cancelling']
  const PAUSABLE = ['new', 'preparing', 'hashing', 'uploading', 'waiting']
  const ENDED = ['active', 'cancelled']
  // Error codes that another attempt of this page cannot change.
  const PERMANENT = ['unauthenticated', 'forbidden', 'gone', 'refused', 'too-large', 'undelivered']

  function buildBar(label) {
    const bar = dom.element('div', 'progress-bar')
    const attributes = { role: 'progressbar', 'aria-label': label, 'aria-valuemin': '0', 'aria-valuemax': '100' }
    for (const [name, value] of Object.entries(attributes)) bar.setAttribute(name, value)
    return bar
  }

  function buildButtons(entry, onBackground) {
    const { upload } = entry
    const login = dom.element('a', 'btn btn-sm btn-primary', gettext('Sign In'))
    login.href = `${WEBROOT}auth/login/?next=${encodeURIComponent(location.pathname)}`
    return {
      pause: dom.button(gettext('Pause'), 'pause', () => upload.pause()),
      resume: dom.button(gettext('Resume'), 'play', () => upload.start(), 'btn-primary'),
      login,
      cancel: dom.button(gettext('Cancel Upload'), 'trash', () => uploads.cancel(entry.id)),
      background: dom.button(gettext('Continue in Background'), 'arrow-up', () => onBackground()),
    }
  }

  /** Live regions announce every assignment, so assign only what is new. */
  function setText(node, text) {
    if (node.textContent !== text) node.textContent = text
  }

  function errorText(entry) {
    const { phase, error, progress } = entry.upload
    if (phase === 'failed') return messages.failure(error, entry.lastError)
    return phase === 'waiting' ? messages.translate(progress.lastError) : ''
  }

  /**
   * Build the widget of `entry`, one of uploads.running; `heading` is above it. With `onBackground` it has a button
   * that calls it.
   */
  function progressWidget(entry, heading, onBackground) {
    const { upload } = entry
    const label = messages.format(gettext('Upload of %(name)s'), { name: entry.name })
    const root = dom.element('div', 'rg-progress')
    root.setAttribute('role', 'group')
    root.setAttribute('aria-label', label)
    root.tabIndex = -1 // a dialog can focus it

    const bar = buildBar(label)
    const frame = dom.element('div', 'progress')
    frame.append(bar)
    const phase = dom.element('span', 'rg-progress-phase')
    phase.setAttribute('role', 'status')
    const amount = dom.element('span', 'rg-progress-amount')
    const percent = dom.element('span', 'rg-progress-percent')
    const line = dom.element('div', 'rg-progress-line')
    line.append(phase, amount, percent)
    const error = dom.element('p')
    error.setAttribute('role', 'alert')
    const controls = buildButtons(entry, onBackground)
    const buttons = dom.element('div', 'rg-progress-buttons')
    buttons.append(...Object.values(controls))
    root.append(dom.element('div', 'rg-progress-heading', heading), frame, line, error, buttons)

    function drawProgress() {
      const { progress } = upload
      const done = messages.percent(progress.fraction)
      const animated = ANIMATED.includes(upload.phase) ? 'progress-bar-striped active' : ''
      bar.className = `progress-bar ${BAR_CLASSES[upload.phase] || ''} ${animated}`
      bar.style.width = `${done}%`
      bar.setAttribute('aria-valuenow', done)
      setText(phase, messages.PHASES[upload.phase])
      amount.textContent = progress.size ? messages.progressLine(progress) : ''
      percent.textContent = `${done} %`
    }

    function drawError() {
      const text = errorText(entry)
      setText(error, text)
      error.className = `rg-progress-error ${upload.phase === 'failed' ? 'text-danger' : 'text-warning'}`
      dom.setHidden(error, !text)
    }

    function drawButtons() {
      const failed = upload.phase === 'failed'
      const ended = ENDED.includes(upload.phase)
      const resumable = upload.phase === 'paused' || (failed && !PERMANENT.includes(upload.error.code))
      dom.setHidden(controls.pause, !PAUSABLE.includes(upload.phase))
      dom.setHidden(controls.resume, !resumable)
      dom.setHidden(controls.login, !failed || upload.error.code !== 'unauthenticated')
      dom.setHidden(controls.cancel, ended || upload.phase === 'cancelling')
      dom.setHidden(controls.background, !onBackground || failed || ended)
      // Keep the keyboard's focus when its button disappears: after Pause it is on Resume.
      const focused = document.activeElement
      if (buttons.contains(focused) && focused.classList.contains('hidden')) {
        const next = buttons.querySelector('.btn:not(.hidden)') || root
        next.focus()
      }
    }

    function draw() {
      root.dataset.phase = upload.phase
      root.dataset.error = upload.phase === 'failed' ? upload.error.code : ''
      drawProgress()
      drawError()
      drawButtons()
    }

    upload.addEventListener('progress', draw)
    draw()
    return root
  }

  horizon.resumableGlance.progressWidget = progressWidget
})()

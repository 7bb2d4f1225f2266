// The card of one upload: its progress, its buttons, and the hashes at the end.

import { formatSize } from './resumable-glance.js'
import { PHASES, details } from './words.js'

const template = document.querySelector('#upload').content
const ENDS = ['active', 'cancelled']
const SENDS = ['preparing', 'hashing', 'uploading', 'waiting']
const ABOUT_FILES = ['file-changed', 'file-unreadable']
const AGAIN = ['unauthenticated', 'forbidden', 'too-large', 'refused', 'damaged', 'unhashed', 'undelivered']

export class Card {
  /** `say` announces to screen readers; `choose` is called to let the person choose the file again. */
  constructor(name, { say, choose, remove }) {
    this.element = template.cloneNode(true).firstElementChild
    this.name = name
    this._say = say
    this._upload = null
    this._find('h3').textContent = name
    this._find('.bar').setAttribute('aria-label', name)
    for (const [what, act] of Object.entries({
      pause: () => this._upload.pause(),
      resume: () => this._resume(),
      cancel: () => this._cancel(),
      again: () => this._upload.start(),
      choose: () => choose(this),
      pick: () => choose(this),
      remove: () => remove(this),
    }))
      this._find(`button.${what}`).onclick = act
    for (const button of this.element.querySelectorAll('.head button'))
      button.setAttribute('aria-label', `${button.textContent.trim()}: ${name}`)
  }

  /** Whether the card can take a file: it is on the page, and no upload is running. */
  get idle() {
    return this.element.isConnected && (!this._upload || this._upload.phase === 'failed')
  }

  get url() {
    return this._upload?.url ?? null
  }

  /** Show an upload. */
  follow(upload) {
    this._upload = upload
    this._waits = null
    upload.addEventListener('progress', () => this._draw(upload.progress))
    upload.addEventListener('phase', () => this._say(`${this.name}: ${PHASES[upload.phase]}`))
    this._draw(upload.progress)
  }

  /** Show an earlier upload; `resume` resumes it without a file, and is null if the file has to be chosen. */
  wait({ size, received, begun }, { resume, cancel, words }) {
    this._waits = { resume, cancel }
    this._draw({
      phase: 'paused',
      size,
      durable: received,
      sent: received,
      fraction: (0.9 * received) / (size || 1),
      rate: 0,
      eta: null,
    })
    this._find('.meta').textContent = `${formatSize(size)} · begun ${new Date(begun).toLocaleString()}`
    this._find('.phase').textContent = words
    this._show({ resume: !!resume, ask: !resume })
  }

  /** Pause the upload, and leave the page. */
  dismiss() {
    this._upload?.pause()
    this.element.remove()
  }

  _resume() {
    if (this._waits) this._waits.resume()
    else this._upload.resume()
  }

  _cancel() {
    if (!confirm(`Cancel the upload of ${this.name}? The bytes sent so far are deleted.`)) return
    if (this._waits) this._waits.cancel()
    else this._upload.cancel()
  }

  _draw(progress) {
    const { phase, size, durable, sent, fraction, lastError, document } = progress
    this.element.dataset.phase = phase
    this._find('.meta').textContent = meta(size, document)
    this._bar(fraction, sent ? (fraction * durable) / Math.max(sent, 1) : fraction)
    const [strong, rest] = [window.document.createElement('strong'), details(progress)]
    strong.textContent = PHASES[phase]
    this._find('.phase').replaceChildren(strong, rest && ` · ${rest}`)
    this._find('.percent').textContent = ['cancelled', 'failed'].includes(phase)
      ? ''
      : `${Math.floor(fraction * 100)} %`
    const error = this._upload?.error
    const nothing = phase === 'failed' && !this._upload.url // there is to cancel
    this._show({
      pause: SENDS.includes(phase),
      resume: phase === 'paused',
      cancel: !ENDS.includes(phase) && phase !== 'cancelling' && !nothing,
      remove: ENDS.includes(phase) || nothing,
      waiting: !!lastError && !ENDS.includes(phase) && phase !== 'failed',
      failure: phase === 'failed',
      proof: phase === 'active',
      ask: false,
      bar: phase !== 'cancelled',
      again: AGAIN.includes(error?.code) && !(error.code === 'refused' && this._upload.url),
      choose: ABOUT_FILES.includes(error?.code),
    })
    this._find('.waiting').textContent = lastError ? `${lastError} It goes on by itself.` : ''
    this._glyph({ active: 'done', failed: 'alert' }[phase] ?? 'disk')
    if (phase === 'failed' && error) this._failed(error)
    if (phase === 'active' && this._upload.result) this._prove(this._upload.result)
  }

  _bar(fraction, durable) {
    const bar = this._find('.bar')
    bar.setAttribute('aria-valuenow', Math.floor(fraction * 100))
    bar.setAttribute(
      'aria-valuetext',
      this._upload ? `${Math.floor(fraction * 100)} %, ${PHASES[this._upload.phase]}` : '',
    )
    bar.querySelector('.sent').style.width = `${fraction * 100}%`
    bar.querySelector('.durable').style.width = `${Math.min(durable, fraction) * 100}%`
  }

  _failed({ message, advice, requestId }) {
    this._find('.what').textContent = message
    this._find('.advice').textContent = advice
    this._find('.request').textContent = requestId ? `For the operator: ${requestId}` : ''
  }

  _prove({ image, hashes, md5, size, receipt }) {
    const proof = this._find('.proof')
    if (proof.childElementCount) return
    const row = (name, ...content) => {
      const [term, value] = [document.createElement('dt'), document.createElement('dd')]
      term.textContent = name
      value.append(...content)
      proof.append(term, value)
    }
    row('Image', ...copied(image.id, 'image id'))
    row('Size', `${size.toLocaleString('en')} bytes`)
    row('MD5', ...copied(hashes.md5, 'MD5'))
    row('SHA-512', ...copied(hashes.sha512, 'SHA-512'))
    const equal = document.createElement('span')
    equal.className = 'equal'
    for (const each of [md5 && 'your file', 'what arrived', 'the image'].filter(Boolean))
      equal.append(Object.assign(document.createElement('span'), { textContent: each }))
    row('Equal in', equal)
    if (receipt) row('Receipt', saved(receipt, `${this.name}.receipt.json`))
  }

  _glyph(name) {
    const use = this._find('.glyph use')
    const href = `page/icons.svg#${name}`
    if (use.getAttribute('href') !== href) use.setAttribute('href', href)
  }

  _show(parts) {
    for (const [name, shown] of Object.entries(parts))
      for (const each of this.element.querySelectorAll(`.${name}`)) each.hidden = !shown
  }

  _find(selector) {
    return this.element.querySelector(selector)
  }
}

const meta = (size, document) => {
  const { declared, detected } = document?.format ?? {}
  const format = detected ?? declared
  return [formatSize(size), format && (FORMAT[format] ?? format)].filter(Boolean).join(' · ')
}

const FORMAT = { raw: 'Raw', qcow2: 'QCOW2', iso: 'ISO', vmdk: 'VMDK' }

/** A value with a button that copies it. */
const copied = (value, what) => {
  const code = Object.assign(document.createElement('code'), {
    textContent: value,
    title: value,
  })
  const button = Object.assign(document.createElement('button'), {
    type: 'button',
    className: 'quiet',
  })
  button.setAttribute('aria-label', `Copy ${what}`)
  button.append(icon('copy'))
  button.onclick = async () => {
    await navigator.clipboard.writeText(value)
    button.replaceChildren(icon('done'))
    setTimeout(() => button.replaceChildren(icon('copy')), 1500)
  }
  return navigator.clipboard ? [code, button] : [code]
}

/** A link that saves the signed receipt, without the network. */
const saved = (receipt, name) => {
  const file = new Blob([`${JSON.stringify(receipt, null, 2)}\n`], {
    type: 'application/json',
  })
  return Object.assign(document.createElement('a'), {
    href: URL.createObjectURL(file),
    download: name,
    textContent: 'Save the signed receipt',
  })
}

const icon = (name) => {
  const space = 'http://www.w3.org/2000/svg'
  const [svg, use] = [document.createElementNS(space, 'svg'), document.createElementNS(space, 'use')]
  svg.setAttribute('aria-hidden', 'true')
  use.setAttribute('href', `page/icons.svg#${name}`)
  svg.append(use)
  return svg
}

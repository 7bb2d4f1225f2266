// Does what the plan says, and tells it what came of that. No decisions here.

import { plan } from '../core/plan.js'
import { answer, lastEvent, request } from '../core/messages.js'

const LONGEST = 1e6 // characters of one stream of events: it is kept in memory as a whole

export class Driver {
  /**
   * `seams`: clock, transport, hasher. `access` gives { token, ticket } and renews them. `listener` hears of
   * `save`, `forget`, `finish` and, with what has changed, `change`. `stall`: seconds without progress until a
   * request is given up.
   */
  constructor(state, { file, uploads, description, key, clock, transport, hasher, access, listener, stall }) {
    Object.assign(this, { state, file, uploads, description, key, clock, transport, hasher, access, listener, stall })
    this._running = new Set()
    this._flights = new Map() // bytes of each chunk that have been sent
    this._high = 0
    this.wire = 0 // bytes that have been sent in all
  }

  send(event) {
    const [state, effects] = plan(this.state, { chance: this.clock.chance(), ...event })
    this.state = state
    for (const effect of effects) this._do(effect)
    this.listener.change(event)
  }

  /** Bytes that are durable or on their way; never less than it said before. */
  sent(durable) {
    const flying = [...this._flights.values()].reduce((sum, each) => sum + each, 0)
    return (this._high = Math.max(this._high, Math.min(this.state.size, durable + flying)))
  }

  _do(effect) {
    switch (effect.do) {
      case 'wait':
        return this._wait(effect.seconds)
      case 'abort':
        return this._abort()
      case 'hash':
        return this._hash(effect)
      case 'renew':
        return this._renew()
      case 'forget':
        this.key += '.' // the next creation is another one
        this.access.ticket = null
        return this.listener.forget()
      case 'save':
      case 'finish':
        return this.listener[effect.do](this.state)
      default:
        return this._request(effect)
    }
  }

  _wait(seconds) {
    this._timer?.()
    this._timer = this.clock.after(seconds, () => this.send({ type: 'woken' }))
  }

  _abort() {
    this._timer?.()
    for (const controller of this._running) controller.abort()
    this._running.clear()
    this._flights.clear()
  }

  async _hash({ start, stop, chunk, zeros }) {
    try {
      const pieces = await this.hasher.hash({ start, stop, chunk, zeros })
      this.send({ type: 'hashed', start, stop, pieces })
    } catch (error) {
      this.send({ type: 'broken', code: error.code ?? 'unhashed', message: error.message })
    }
  }

  async _renew() {
    const controller = this._run()
    const came = await this.access.renew(this.state.url, (effect, access) => this._carry(effect, access, controller))
    this._end(controller, { type: 'answer', to: 'renew', answer: came })
  }

  async _request(effect) {
    const { do: to, start } = effect
    const controller = this._run()
    const begun = this.clock.now()
    const came = await this._carry(effect, await this.access.get(), controller, (sent) => {
      this.wire += sent - (this._flights.get(start) ?? 0)
      this._flights.set(start, sent)
      this.listener.change({ type: 'progress' })
    })
    if (to === 'create' && came.document?.ticket) this.access.take(came.document.ticket)
    const seconds = this.clock.now() - begun
    this._end(controller, { type: 'answer', to, start, answer: came, seconds }, to === 'send' ? start : null)
  }

  _run() {
    const controller = new AbortController()
    this._running.add(controller)
    return controller
  }

  _end(controller, event, flight) {
    if (!this._running.delete(controller)) return // it was aborted; who did that knows
    if (flight !== null) this._flights.delete(flight)
    this.send(event)
  }

  /** The answer to one request; status 0 if there was none, or no progress for too long. */
  async _carry(effect, access, controller, progress) {
    const { uploads, description, key, clock, file, state } = this
    const { body, ...head } = request(effect, {
      uploads,
      url: state.url,
      description,
      key,
      zeros: state.zeros,
      ...access,
    })
    const broken = new AbortController()
    controller.signal.addEventListener('abort', () => broken.abort())
    let why
    const watch = () =>
      clock.after(this.stall, () => {
        why = `Nothing has moved for ${this.stall} s.`
        broken.abort()
      })
    let stop = watch()
    const came = await this.transport({
      ...head,
      body: Array.isArray(body) ? file.slice(...body) : body || undefined,
      signal: broken.signal,
      onText: (text) => {
        stop()
        stop = watch()
        if (effect.do === 'watch' && !broken.signal.aborted) this._told(text, broken)
      },
      onProgress: (sent) => {
        stop()
        stop = watch()
        if (!broken.signal.aborted && Array.isArray(body)) progress?.(sent)
      },
    })
    stop()
    return answer(why && !came.status ? { ...came, why } : came)
  }

  _told(text, stream) {
    const document = lastEvent(text)
    if (document) this.send({ type: 'told', document })
    if (text.length > LONGEST) stream.abort() // and another one is opened
  }
}

// Carries out the effects of the plan, and feeds the plan with what comes of them. Decides nothing.

import { createParser } from 'eventsource-parser'
import { makeRequest, readAnswer, readEvent } from '../core/messages.js'
import { plan } from '../core/plan.js'

const MAX_STREAM = 1e6 // characters of one stream of events, which XMLHttpRequest keeps in memory

/**
 * @typedef {import('../core/plan.js').State} State
 * @typedef {import('../core/plan.js').Event} Event
 * @typedef {import('../core/plan.js').Effect} Effect
 * @typedef {import('../core/plan.js').Call} Call
 * @typedef {import('../core/messages.js').Credentials} Credentials
 *
 * @typedef {object} Context
 * @property {Blob} file
 * @property {string} uploads  URL of the collection
 * @property {object} description  of the upload to be created
 * @property {string} key  idempotency key of the creation
 * @property {number} stall  seconds without progress after which a request is aborted
 * @property {import('../core/clock.js').Clock} clock
 * @property {(request: import('./xhr.js').TransportRequest) =>
 *   Promise<import('../core/messages.js').Response>} transport
 * @property {Pick<import('./hash_queue.js').HashQueue, 'hash'>} hasher
 * @property {import('../core/credentials.js').CredentialStore} credentials
 * @property {Listener} listener
 *
 * @typedef {object} Listener
 * @property {(event: { type: string }) => void} onChange  called after each event, and when more bytes are sent
 * @property {(state: State) => void} onSave
 * @property {() => void} onForget
 * @property {(state: State) => void} onFinish
 */

export class EffectRunner {
  #context
  /** @type {Set<AbortController>} */
  #running = new Set()
  /** @type {Map<number, number>} bytes sent of each chunk, by its start */
  #sending = new Map()
  #maxSent = 0
  #cancelWait = () => {}

  /** Bytes sent in all, those that had to be sent again included. */
  transferred = 0

  /** @param {State} state @param {Context} context */
  constructor(state, context) {
    this.state = state
    this.#context = context
  }

  get idempotencyKey() {
    return this.#context.key
  }

  /** @param {Event} event */
  handle(event) {
    const { clock, listener } = this.#context
    const [state, effects] = plan(this.state, { random: clock.random(), ...event })
    this.state = state
    for (const effect of effects) this.#run(effect)
    listener.onChange(event)
  }

  /** Bytes that are durable or on their way; never fewer than before. @param {number} durable */
  sentBytes(durable) {
    const sending = [...this.#sending.values()].reduce((sum, each) => sum + each, 0)
    return (this.#maxSent = Math.max(this.#maxSent, Math.min(this.state.size, durable + sending)))
  }

  /** @param {Effect} effect */
  #run(effect) {
    const { listener, credentials } = this.#context
    switch (effect.do) {
      case 'wait':
        return this.#wait(effect.seconds)
      case 'abort':
        return this.#abort()
      case 'hash':
        return this.#hash(effect)
      case 'renew':
        return this.#renew()
      case 'forget':
        this.#context.key += '.' // the next creation is another one
        credentials.ticket = null
        return listener.onForget()
      case 'save':
        return listener.onSave(this.state)
      case 'finish':
        return listener.onFinish(this.state)
      default:
        return this.#call(effect)
    }
  }

  /** @param {number} seconds */
  #wait(seconds) {
    this.#cancelWait()
    this.#cancelWait = this.#context.clock.after(seconds, () => this.handle({ type: 'wake' }))
  }

  #abort() {
    this.#cancelWait()
    for (const controller of this.#running) controller.abort()
    this.#running.clear()
    this.#sending.clear()
  }

  /** @param {import('../core/plan.js').HashEffect} region */
  async #hash(region) {
    const { start, stop } = region
    try {
      this.handle({ type: 'hashed', start, stop, pieces: await this.#context.hasher.hash(region) })
    } catch (error) {
      const { code = 'unhashed', message } = /** @type {any} */ (error)
      this.handle({ type: 'hashing-failed', code, message })
    }
  }

  async #renew() {
    const controller = this.#begin()
    const answer = await this.#context.credentials.renew(this.state.url, (token) =>
      this.#send({ do: 'renew' }, { token, ticket: null }, controller),
    )
    this.#end(controller, { type: 'answer', to: 'renew', answer })
  }

  /** @param {import('../core/plan.js').SendEffect | { do: Call }} effect */
  async #call(effect) {
    const { clock, credentials, listener } = this.#context
    const start = 'start' in effect ? effect.start : undefined
    const controller = this.#begin()
    const begun = clock.now()
    const answer = await this.#send(effect, await credentials.get(), controller, (sent) => {
      const chunk = Number(start)
      this.transferred += sent - (this.#sending.get(chunk) ?? 0)
      this.#sending.set(chunk, sent)
      listener.onChange({ type: 'progress' })
    })
    if (effect.do === 'create' && answer.document?.ticket) credentials.accept(answer.document.ticket)
    this.#end(controller, { type: 'answer', to: effect.do, start, answer, seconds: clock.now() - begun })
  }

  #begin() {
    const controller = new AbortController()
    this.#running.add(controller)
    return controller
  }

  /** @param {AbortController} controller @param {Event & { type: 'answer' }} event */
  #end(controller, event) {
    if (!this.#running.delete(controller)) return // it was aborted, and the plan knows
    if (event.start !== undefined) this.#sending.delete(event.start)
    this.handle(event)
  }

  /**
   * Send one request, and abort it after too long without progress. The answer has status 0 if none came.
   * @param {Effect} effect
   * @param {Credentials} credentials
   * @param {AbortController} controller
   * @param {(bytes: number) => void} [onSent]
   */
  async #send(effect, credentials, controller, onSent) {
    const { uploads, description, key, clock, file, stall, transport } = this.#context
    const { url, zerosType } = this.state
    const request = makeRequest(effect, { uploads, url, description, key, zerosType, ...credentials })
    const body = Array.isArray(request.body) ? file.slice(...request.body) : request.body
    const aborted = new AbortController()
    controller.signal.addEventListener('abort', () => aborted.abort())
    let why = ''
    const startTimer = () =>
      clock.after(stall, () => {
        why = `Nothing has moved for ${stall} s.`
        aborted.abort()
      })
    let stopTimer = startTimer()
    const restartTimer = () => {
      stopTimer()
      stopTimer = startTimer()
    }
    const readEvents = effect.do === 'watch' ? this.#eventReader(aborted) : null
    const response = await transport({
      ...request,
      body,
      signal: aborted.signal,
      onText: (text) => {
        restartTimer()
        if (!aborted.signal.aborted) readEvents?.(text)
      },
      onProgress: (sent) => {
        restartTimer()
        if (!aborted.signal.aborted && effect.do === 'send') onSent?.(sent)
      },
    })
    stopTimer()
    return readAnswer(why && !response.status ? { ...response, why } : response, uploads)
  }

  /** Return a function that reads the text of a stream of events as it comes. @param {AbortController} stream */
  #eventReader(stream) {
    let length = 0
    const parser = createParser({
      onEvent: (event) => {
        const document = readEvent(event)
        if (document && !stream.signal.aborted) this.handle({ type: 'update', document })
      },
    })
    return (/** @type {string} */ text) => {
      parser.feed(text)
      length += text.length
      if (length > MAX_STREAM) stream.abort() // the plan opens another one
    }
  }
}

// A small model of the service after docs/native-protocol.md, without time.
// handle(request, bytes) -> { status, header, text }, as a transport resolves to.

import { createHash } from 'node:crypto'
import { merge, missing, total } from '../src/core/ranges.js'

const PREFIX = 'urn:problem-type:resumable-glance:'
export const ZEROS = 'application/vnd.resumable-glance.zeros'

export const md5 = (bytes, as = 'base64') => createHash('md5').update(bytes).digest(as)

export class Model {
  constructor({ maxChunk = 1 << 30, maxSize = 2 ** 40, zeros = true, tickets = false } = {}) {
    Object.assign(this, { maxChunk, maxSize, zeros, tickets })
    this.uploads = new Map()
    this.requests = []
    this.wire = 0 // bytes of bodies
    this.streams = true // whether it tells events
    this.newline = '\n' // of events
    this.polls = 2 // questions until a sealed upload is active
  }

  handle(request, bytes = Buffer.alloc(0)) {
    this.requests.push(request)
    this.wire += bytes.length
    const url = new URL(request.url)
    const [, , , id, what] = url.pathname.split('/')
    if (!id) return this._collection(request)
    const upload = this.uploads.get(id)
    if (!upload) return problem(404, 'unknown-upload')
    if (what === 'retry') return this._retry(upload)
    if (what === 'ticket') return this._renew(upload, request)
    if (this.tickets && !this._admits(upload, request)) return problem(401, 'ticket-expired')
    if (upload.gone) return problem(410, upload.gone)
    if (what === 'receipt')
      return upload.state === 'active' ? reply(200, { jws: 'signed' }) : problem(409, 'upload-unfinished')
    if (what === 'events') return this.streams ? this._events(upload) : problem(404, 'unknown-upload')
    if (request.method === 'PATCH') return this._append(upload, request, bytes)
    if (request.method === 'DELETE')
      return upload.state === 'active' ? problem(409, 'upload-sealed') : this._cancel(upload)
    return reply(200, this._described(upload), head(upload))
  }

  /** Let all tickets expire. */
  expireTickets() {
    for (const upload of this.uploads.values()) upload.generation += 1
  }

  _collection(request) {
    if (request.method === 'OPTIONS') return reply(200, this._capabilities())
    if (this.tickets && request.headers['X-Auth-Token'] !== 'token') return problem(401, 'unauthenticated')
    const { size, image } = JSON.parse(request.body)
    const key = request.headers['Idempotency-Key']
    const again = [...this.uploads.values()].find((each) => key && each.key === key && !each.gone)
    if (again) return this._created(again)
    const id = `a-${String(this.uploads.size).padStart(32, '0')}`
    const upload = {
      id,
      key,
      size,
      image,
      generation: 0,
      durable: [],
      content: Buffer.alloc(size),
      whole: null,
      state: size ? 'receiving' : 'sealed',
    }
    this.uploads.set(id, upload)
    return this._created(upload)
  }

  _created(upload) {
    const ticket = this.tickets ? { ticket: { value: `${upload.id} ${upload.generation}` } } : {}
    return reply(201, { ...this._described(upload), ...ticket }, { ...head(upload), location: this._url(upload.id) })
  }

  _capabilities() {
    const zeros = this.zeros ? { zeros: { content_type: ZEROS } } : {}
    return { chunks: { max_size: this.maxChunk }, max_size: this.maxSize, ...zeros }
  }

  _admits(upload, { headers }) {
    return headers.Authorization === `Bearer ${upload.id} ${upload.generation}`
  }

  _renew(upload, { headers }) {
    if (headers['X-Auth-Token'] !== 'token') return problem(401, 'unauthenticated')
    return reply(201, { value: `${upload.id} ${upload.generation}` })
  }

  _retry(upload) {
    if (upload.hopeless) return problem(409, 'retry-useless')
    Object.assign(upload, { state: 'sealed', left: this.polls })
    return reply(200, this._described(upload), head(upload))
  }

  _append(upload, { headers }, bytes) {
    const [, first, last, size] = headers['Content-Range'].match(/^bytes (\d+)-(\d+)\/(\d+)$/).map(Number)
    const zeros = headers['Content-Type'] === ZEROS
    const length = last + 1 - first
    const content = zeros ? Buffer.alloc(length) : bytes
    if (size !== upload.size) return problem(400, 'wrong-total')
    if (!zeros && length > this.maxChunk) return problem(413, 'chunk-too-large', { limit: this.maxChunk })
    if (content.length !== length) return problem(400, 'body-too-short')
    if (upload.state === 'active') return problem(409, 'upload-sealed')
    if (headers['Content-MD5'] && headers['Content-MD5'] !== md5(content)) return problem(422, 'chunk-digest-mismatch')
    const whole = headers['Repr-Digest']?.match(/^md5=:(.*):$/)[1]
    if (whole && upload.whole && upload.whole !== whole) return problem(409, 'wrong-digest')
    for (const [start, stop] of overlap(upload.durable, first, last + 1))
      if (!upload.content.subarray(start, stop).equals(content.subarray(start - first, stop - first)))
        return problem(409, 'different-bytes')
    upload.whole ??= whole
    content.copy(upload.content, first)
    upload.durable = merge([...upload.durable, [first, last + 1]])
    if (upload.state === 'receiving' && !missing(upload.size, upload.durable).length) {
      upload.state = 'sealed'
      upload.left = this.polls
    }
    return reply(204, null, head(upload))
  }

  /** The whole stream of events; each event advances the handoff. */
  _events(upload) {
    let text = ''
    do text += `event: upload\ndata: ${JSON.stringify(this._described(upload))}\n\n: ping\n\n`
    while (!['active', 'failed'].includes(upload.state))
    return { ...reply(200, null), text: text.replaceAll('\n', this.newline) }
  }

  _cancel(upload) {
    upload.gone = 'upload-cancelled'
    return reply(204, null)
  }

  /** The description of an upload; each one advances the handoff. */
  _described(upload) {
    if (['sealed', 'delivering', 'verifying'].includes(upload.state) && upload.size === total(upload.durable)) {
      upload.left = (upload.left ?? this.polls) - 1
      const right = !upload.whole || upload.whole === md5(upload.content)
      upload.state = upload.left > 0 ? 'delivering' : right ? 'active' : 'failed'
    }
    return {
      id: upload.id,
      href: this._url(upload.id),
      state: upload.state,
      expires_at: upload.durable.length ? null : new Date(Date.now() + 3600e3).toISOString(), // before its first byte
      size: upload.size,
      received: total(upload.durable),
      image: { id: 'image', name: upload.image?.name ?? null },
      ranges: upload.durable.map(([start, stop]) => [start, stop - 1]),
      hashes: upload.state === 'active' ? { md5: md5(upload.content, 'hex'), sha512: 'sha512' } : null,
      handoff: {
        delivered: upload.state === 'active' ? upload.size : (this.delivered?.shift() ?? 0),
        last_error:
          upload.trouble ?? (upload.state === 'failed' ? { reason: 'digest-mismatch', detail: 'It differs.' } : null),
      },
    }
  }

  _url(id) {
    return `http://service/v1/uploads/${id}`
  }
}

export const reply = (status, document, headers = {}) => ({
  status,
  header: (name) => headers[name.toLowerCase()] ?? null,
  text: document ? JSON.stringify(document) : '',
})

export const problem = (status, reason, facts = {}) =>
  reply(status, { type: PREFIX + reason, detail: `${reason}.`, ...facts })

const head = ({ state, size }) => ({ 'upload-state': state, 'upload-length': String(size) })

const overlap = (ranges, start, stop) =>
  ranges.map(([from, to]) => [Math.max(from, start), Math.min(to, stop)]).filter(([from, to]) => from < to)

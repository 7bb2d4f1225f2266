// One upload, driven by messages: `engine(post, seams)` gives a function that hears them.
//
// heard: { open: file, or { size, print } of one that is not at hand } · { drive: settings } · { event } · { reply, value | error }
// posted: { opened: fingerprint } · { progress } · { save } · { forget } · { finish } · { ask, what, url } · { error }
//
// The seams are a clock, a transport and `open`, which gives a Reader of a file: what a browser has is in worker.js.

import { access } from '../core/credentials.js'
import { Driver } from './effects.js'
import { Hashing } from './hash_queue.js'
import { meter } from '../core/rate.js'
import { begin } from '../core/plan.js'
import { durableBytes, fraction, hex, unsafe } from '../core/status.js'

const NO_FILE = { code: 'file-unreadable', message: 'The file has to be chosen again.' }
const OFTEN = 0.1 // seconds between two reports of mere progress

export const engine = (post, { clock, transport, open }) => {
  const waiting = new Map()
  const measured = meter()
  let file
  let hashing
  let driver
  let told = -Infinity
  let farthest = 0 // a handoff reads twice, and may begin again; a bar does not go back

  const ask = (what) => (url) =>
    new Promise((resolve, reject) => {
      waiting.set(waiting.size, { resolve, reject })
      post({ ask: waiting.size - 1, what, url })
    })

  const report = (event) => {
    const { state } = driver
    const { phase, size, document, trouble, error } = state
    const now = clock.now()
    const durable = durableBytes(state)
    const sent = driver.sent(durable)
    const rate = measured(driver.wire, now)
    if (event.type === 'progress' && now - told < OFTEN) return
    told = now
    farthest = Math.max(farthest, fraction(state, sent))
    const speed = phase === 'uploading' ? rate : 0
    const eta = speed > 0 ? (size - sent) / speed : null
    const progress = {
      phase,
      size,
      durable,
      sent,
      fraction: farthest,
      rate: speed,
      eta,
      trouble,
      document,
    }
    post({ progress, error, url: state.url, unsafe: unsafe(state) })
  }

  const known = (state) => ({
    url: state.url,
    ticket: driver.access.ticket,
    claim: driver.key,
    durable: durableBytes(state),
    document: state.document,
    receipt: state.receipt,
    md5: state.whole && hex(state.whole),
  })

  const listener = {
    change: report,
    save: (state) => post({ save: known(state) }),
    forget: () => post({ forget: true }),
    finish: (state) => post({ finish: known(state) }),
  }

  const HEAR = {
    open: async (given) => {
      file = given
      if (given.print) {
        hashing = { hash: () => Promise.reject(NO_FILE) }
        return post({ opened: given.print })
      }
      const whole = (md5, error) => driver.send(md5 ? { type: 'whole', md5 } : { type: 'broken', ...error })
      hashing = new Hashing(await open(file), whole)
      post({ opened: `${file.size}-${file.lastModified ?? 0}-${await hashing.sample()}` })
    },
    drive: ({
      url,
      token,
      ticket,
      renewTicket,
      description,
      key,
      anew,
      largest,
      parallel,
      zeros,
      stall = 30,
      uploads,
    }) => {
      const given = {
        ticket,
        token: token === true ? ask('token') : token,
        renewTicket: renewTicket && ask('renewTicket'),
      }
      driver = new Driver(begin({ size: file.size, url, anew, largest, parallel, scan: zeros }), {
        file,
        uploads,
        description,
        key,
        clock,
        transport,
        hasher: hashing,
        access: access(given),
        listener,
        stall,
      })
    },
    event: (event) => driver?.send(event),
    reply: (id, { value, error }) =>
      error ? waiting.get(id).reject(new Error(error)) : waiting.get(id).resolve(value),
  }

  return async (message) => {
    const [what] = Object.keys(message)
    try {
      await HEAR[what](message[what], message)
    } catch (error) {
      post({ error: { code: error.code ?? 'unhashed', message: String(error.message ?? error) } })
    }
  }
}

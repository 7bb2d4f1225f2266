// What proves who asks: a Keystone token, a ticket for this upload, or nothing (in development).

import { answer } from './messages.js'

const REFUSED = answer({ status: 401, why: 'The ticket or token is no longer good.' })

/**
 * `token` is a Keystone token, or a function that gives one. `renewTicket` gives a fresh ticket; without it the token
 * is exchanged for one.
 */
export const access = ({ token, ticket, renewTicket }) => {
  let current = null
  const fresh = async () => (current = typeof token === 'function' ? await token() : (token ?? null))
  const self = {
    ticket: ticket ?? null,
    /** Without a token if there is none now: who needs one refuses, and then renew() says why. */
    get: async () => ({ token: current ?? (await fresh().catch(() => null)), ticket: self.ticket }),
    take: (given) => (self.ticket = given.value ?? given),
    /** The answer that says whether there is another ticket or token now. */
    renew: async (url, carry) => {
      try {
        if (renewTicket && url) return (self.take(await renewTicket(url)), answer({ status: 200 }))
        const before = current
        if (!(await fresh())) return REFUSED
        if (!self.ticket) return current === before ? REFUSED : answer({ status: 200 })
        const came = await carry({ do: 'renew' }, { token: current })
        if (came.status === 201 || came.status === 200) self.take(came.document)
        return came
      } catch (error) {
        return answer({ status: 401, why: String(error?.message ?? error) })
      }
    },
  }
  return self
}

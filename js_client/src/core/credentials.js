// The credentials of an upload: a Keystone token, a ticket for this upload, or nothing (in development).

import { readAnswer } from './messages.js'
import { SENTENCES } from './vocabulary.js'

/** @typedef {import('./messages.js').Answer} Answer */

const REFUSED = readAnswer({ status: 401, why: SENTENCES.credentialsRefused })
const RENEWED = readAnswer({ status: 200 })

/** A ticket, or the document of the service that contains one. @param {string | { value: string }} given */
const ticketOf = (given) => (typeof given === 'string' ? given : given.value)

export class CredentialStore {
  #token
  #renewTicket
  /** @type {string | null} */
  #currentToken = null

  /**
   * @param {object} options
   * @param {string | (() => string | Promise<string>)} [options.token]  a Keystone token, or a function that gets one
   * @param {string | null} [options.ticket]
   * @param {(url: string) => Promise<string | { value: string }>} [options.renewTicket]  without it the token is
   *   exchanged for a ticket
   */
  constructor({ token, ticket, renewTicket }) {
    this.#token = token
    this.#renewTicket = renewTicket
    this.ticket = ticket ?? null
  }

  /** The token is null where it cannot be had: the service refuses the request then, and renew() says why. */
  async get() {
    return { token: this.#currentToken ?? (await this.#freshToken().catch(() => null)), ticket: this.ticket }
  }

  /** @param {string | { value: string }} given */
  accept(given) {
    this.ticket = ticketOf(given)
  }

  /**
   * Get a new ticket or token; the answer tells whether that worked.
   * @param {string | null} url  of the upload, if it exists
   * @param {(token: string) => Promise<Answer>} requestTicket
   */
  async renew(url, requestTicket) {
    try {
      if (this.#renewTicket && url) {
        this.accept(await this.#renewTicket(url))
        return RENEWED
      }
      const before = this.#currentToken
      const token = await this.#freshToken()
      if (!token) return REFUSED
      if (!this.ticket) return token === before ? REFUSED : RENEWED
      const answer = await requestTicket(token)
      if (answer.status === 200 || answer.status === 201) this.accept(/** @type {any} */ (answer.document))
      return answer
    } catch (error) {
      return readAnswer({ status: 401, why: String(/** @type {any} */ (error)?.message ?? error) })
    }
  }

  async #freshToken() {
    const token = typeof this.#token === 'function' ? await this.#token() : this.#token
    return (this.#currentToken = token ?? null)
  }
}

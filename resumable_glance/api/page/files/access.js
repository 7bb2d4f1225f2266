// Signing in: with nothing (development), a Keystone token, or a ticket for one upload.
// The token is kept in memory only, so that it is gone with the page.

const WORDS = {
  token: {
    title: 'Sign in',
    text: 'With a Keystone token of your project (openstack token issue). It stays in the memory of this page, and is exchanged for a ticket of each upload.',
    label: 'Keystone token',
    button: 'Sign in',
  },
  ticket: {
    title: 'Uploads by invitation',
    text: 'Open the link that you were given for your upload, or paste it here.',
    label: 'Link with a ticket',
    button: 'Open',
  },
}

/** The upload and ticket of an address (#upload=ID&ticket=VALUE), or null. */
export const invitation = (address) => {
  const found = new URLSearchParams(address.slice(address.indexOf('#') + 1))
  const [id, ticket] = [found.get('upload'), found.get('ticket')]
  return address.includes('#') && /^[a-z0-9]{1,16}-[0-9a-f]{32}$/.test(id ?? '') && ticket
    ? { url: new URL(`v1/uploads/${id}`, base()).href, ticket }
    : null
}

export const base = () => new URL('.', location.href).href

/** Ask until a value is accepted; `taken(value)` returns a sentence about what is wrong with it, or nothing. */
export const ask = (how, taken) => {
  const form = document.querySelector('#access')
  const { title, text, label, button } = WORDS[how]
  const [error, input] = [form.querySelector('.error'), form.querySelector('input')]
  form.querySelector('h2').textContent = title
  form.querySelector('p').textContent = text
  form.querySelector('label span').textContent = label
  form.querySelector('button').textContent = button
  form.hidden = false
  form.onsubmit = async (event) => {
    event.preventDefault()
    const problem = await taken(input.value.trim())
    error.textContent = problem ?? ''
    error.hidden = !problem
    if (!problem) input.value = ''
  }
}

export const close = () => (document.querySelector('#access').hidden = true)

/** The sentence for people in an answer that is an error. */
export const complaint = async (answer) => {
  const problem = await answer.json().catch(() => null)
  return problem?.detail ?? `The answer was ${answer.status}.`
}

// Who uses the page: anybody (development), somebody with a Keystone token, or somebody with a ticket for one upload.
// The token is kept in memory alone: it ends with the page.

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

/** #upload=ID&ticket=VALUE of an address, or null. */
export const invitation = (address) => {
  const found = new URLSearchParams(address.slice(address.indexOf('#') + 1))
  const [id, ticket] = [found.get('upload'), found.get('ticket')]
  return address.includes('#') && /^[\w-]+$/.test(id ?? '') && ticket
    ? { url: new URL(`v1/uploads/${id}`, base()).href, ticket }
    : null
}

export const base = () => new URL('.', location.href).href

/** Asks until it has something; `taken(value)` gives a sentence about what is wrong with it, or nothing. */
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

/** What an answer that is not good says to a person. */
export const complaint = async (answer) => {
  const problem = await answer.json().catch(() => null)
  return problem?.detail ?? `The answer was ${answer.status}.`
}

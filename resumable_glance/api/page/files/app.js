// Makes a card of each chosen file and each earlier upload. resumable-glance.js does the uploads.

import { ask, base, close, complaint, invitation } from './access.js'
import { Card } from './card.js'
import { draft } from './draft.js'
import { Upload } from './resumable-glance.js'

const find = (selector) => document.querySelector(selector)
const list = find('#list')
const picker = find('#files')
const access = { token: null, identity: null, invited: [] } // `invited` has the options of each upload with a ticket
const options = () => ({
  endpoint: base(),
  ...(access.token && { token: () => access.token, identity: access.identity }),
})

/** Cards that wait for a file: { card, name, size, open(file), url }; a name of null matches any file. */
let expected = []
let picking = null // the card for which a file is being chosen

const say = (text) => (find('#said').textContent = text)

const cards = new Set()
const cardOf = (name) => {
  const card = new Card(name, {
    say,
    choose: (chosen) => pick(chosen),
    remove: (removed) => removed.element.remove(),
  })
  cards.add(card)
  return card
}

const follow = (card, upload) => {
  upload.addEventListener('end', () => upload.error?.code === 'unauthenticated' && signIn())
  card.follow(upload.start())
}

// Choosing files

const isFor =
  (file) =>
  ({ card, name, size }) =>
    card.idle && (picking ? card === picking : size === file.size && [null, file.name].includes(name))

/** `source` is a file, or a handle, with which the file need not be chosen again. */
const take = async (source) => {
  const file = source.getFile ? await source.getFile() : source
  const found = expected.find(isFor(file))
  picking = null
  if (found) return found.open(source)
  const card = draft(file, (form, described) => {
    const running = cardOf(described.image.name)
    form.replaceWith(running.element)
    running.element.focus()
    const open = (chosen) => follow(running, new Upload(chosen, { ...options(), ...described }))
    expect(running, file.name, file.size, open)
    open(source)
  })
  if (find('#drop').hidden) return say('Sign in first.')
  list.prepend(card)
  card.querySelector('input').focus()
}

const expect = (card, name, size, open, url = null) => expected.push({ card, name, size, open, url })

const takeAll = async (sources) => {
  for (const source of sources) await take(source).catch((error) => say(String(error.message)))
}

const pick = async (card = null) => {
  picking = card
  if (!window.showOpenFilePicker) return picker.click()
  const handles = await window.showOpenFilePicker({ multiple: !card }).catch(() => [])
  await takeAll(handles)
}

const drop = async (event) => {
  event.preventDefault()
  document.body.classList.remove('over')
  picking = null
  const items = [...event.dataTransfer.items].filter((each) => each.kind === 'file')
  const sources = items.map(async (each) => {
    const file = each.getAsFile() // only possible during the event
    const handle = await each.getAsFileSystemHandle?.().catch(() => null)
    return handle?.getFile ? handle : file
  })
  takeAll((await Promise.all(sources)).filter(Boolean))
}

find('#choose').onclick = () => pick()
picker.onchange = () => takeAll([...picker.files]).then(() => (picker.value = ''))
document.addEventListener('dragover', (event) => {
  event.preventDefault()
  document.body.classList.add('over')
})
document.addEventListener('dragleave', (event) => event.relatedTarget ?? document.body.classList.remove('over'))
document.addEventListener('drop', drop)

// Earlier uploads

const remember = async () => {
  for (const previous of (await Upload.findPrevious(options())).reverse()) {
    const card = cardOf(previous.options?.image?.name ?? previous.name)
    list.prepend(card.element)
    const open = async (file) => follow(card, await previous.reopen(file))
    const safe = previous.received >= previous.size
    const granted = (await previous.handle?.queryPermission?.({ mode: 'read' })) === 'granted'
    if (safe || granted) {
      await open(null)
      continue
    }
    const words = previous.handle ? 'Begun before. Go on with it?' : 'Begun before.'
    card.wait(previous, {
      words,
      resume: previous.handle ? () => open(null) : null,
      cancel: () => abandon(card, previous),
    })
    expect(card, previous.name, previous.size, open, previous.url)
  }
}

/** Cancel an upload whose file this page does not have. */
const abandon = async (card, { url, ticket, forget }) => {
  const headers = ticket ? { Authorization: `Bearer ${ticket}` } : access.token ? { 'X-Auth-Token': access.token } : {}
  const answer = await fetch(url, { method: 'DELETE', headers }).catch(() => null)
  if (!answer?.ok && ![404, 410].includes(answer?.status)) return say('It could not be cancelled. Try again.')
  await forget()
  card.element.remove()
}

// Signing in

const opened = () => {
  close()
  find('#drop').hidden = false
}

const invited = async ({ url, ticket }) => {
  const theirs = { ...options(), url, ticket }
  const answer = await fetch(url, {
    headers: { Authorization: `Bearer ${ticket}` },
  }).catch(() => null)
  if (!answer?.ok) return answer ? complaint(answer) : 'The service does not answer. Try again.'
  const { image, size, received, created_at: created, state } = await answer.json()
  const older = expected.filter((each) => each.card.idle && (each.url ?? each.card.url) === url) // whose ticket has expired
  for (const each of older) each.card.element.remove()
  expected = expected.filter((each) => !older.includes(each))
  const card = cardOf(image?.name ?? 'An image')
  list.prepend(card.element)
  close()
  access.invited.push(theirs)
  find('#leave').hidden = false
  const previous = (await Upload.findPrevious(theirs)).find((each) => each.url === url)
  const open = async (file) =>
    follow(card, previous ? await previous.reopen(file, { ticket }) : new Upload(file, theirs))
  card.wait(
    { size, received, begun: created },
    {
      words: state === 'receiving' ? 'It waits for its file.' : `It is ${state}.`,
      resume: previous?.handle ? () => open(null) : null,
      cancel: () => abandon(card, { url, ticket, forget: async () => {} }),
    },
  )
  expect(card, null, size, open, url)
}

const signedIn = async (token) => {
  const answer = await fetch(`${base()}v1/identity`, {
    headers: { 'X-Auth-Token': token },
  }).catch(() => null)
  if (!answer?.ok) return answer ? complaint(answer) : 'The service does not answer. Try again.'
  const { identity } = await answer.json()
  const isSame = identity === access.identity // who has a new token
  if (access.identity && !isSame) dismissAll() // somebody else's
  Object.assign(access, { token, identity })
  find('#who').textContent = 'Signed in'
  find('#leave').hidden = false
  opened()
  if (!isSame) await remember()
}

/** Take all uploads off the page: what was sent is kept, and what runs is paused. */
const dismissAll = () => {
  for (const card of cards) card.dismiss()
  cards.clear()
  expected = []
  picking = null
}

/** Forget the uploads of those who were here, and begin anew. */
const signOut = async () => {
  dismissAll()
  const known = access.identity ? [options(), ...access.invited] : access.invited
  await Promise.all(known.map((each) => Upload.forgetPrevious(each)))
  location.reload()
}

find('#leave').onclick = signOut

/** Ask for a token or ticket if there is none (any more). */
const signIn = () => {
  if (access.how === 'token') ask('token', signedIn)
  if (access.how === 'ticket')
    ask('ticket', (link) =>
      invitation(link) ? invited(invitation(link)) : 'This is not such a link. It ends with #upload=…&ticket=…',
    )
}

const begin = async () => {
  access.how = (await (await fetch(`${base()}page/settings.json`)).json()).sign_in
  const invite = invitation(location.href)
  if (location.hash) history.replaceState(null, '', location.pathname) // keeps the ticket out of the history
  if (access.how === 'none') {
    opened()
    await remember()
  } else signIn()
  if (invite) {
    const problem = await invited(invite)
    if (problem) say(problem)
  }
}

begin()

// The form for a chosen file: name, format, visibility and store of its image.

import { FORMATS, detect } from './format.js'
import { formatSize } from './resumable-glance.js'

const template = document.querySelector('#draft').content

/** Return a card with the form; `begin` is called once, with the options of the upload. */
export const draft = (file, begin) => {
  const card = template.cloneNode(true).firstElementChild
  const form = card.querySelector('form')
  const { name, format, visibility, store } = form.elements
  card.querySelector('h3').textContent = file.name
  const meta = card.querySelector('.meta')
  meta.textContent = formatSize(file.size)
  name.value = file.name.replace(/\.(qcow2|img|raw|iso|vmdk|vhdx?|vdi)$/i, '') || file.name
  format.append(...Object.entries(FORMATS).map(([value, text]) => new Option(text, value)))
  detect(file).then(
    (found) => {
      format.value = found.format
      meta.textContent = `${formatSize(file.size)} · ${FORMATS[found.format]}, by its content`
      const note = card.querySelector('.note')
      note.textContent = found.note ?? ''
      note.hidden = !found.note
    },
    () => {},
  )
  card.querySelector('.remove').onclick = () => card.remove()
  form.onsubmit = (event) => {
    event.preventDefault()
    const image = {
      name: name.value,
      disk_format: format.value,
      container_format: 'bare',
    }
    if (visibility.value) image.visibility = visibility.value
    begin(card, {
      image,
      ...(store.value.trim() && { store: store.value.trim() }),
    })
  }
  return card
}

// The dialogs' file input, opened with showOpenFilePicker() where the browser has it: the handle that it returns can be
// stored, so that the next page need not ask for the file again.
;(() => {
  'use strict'

  const handles = new Map() // file's identity -> FileSystemFileHandle

  function identity(file) {
    return [file.name, file.size, file.lastModified].join(' ')
  }

  async function pick(input) {
    let handle
    try {
      ;[handle] = await window.showOpenFilePicker({ multiple: false })
    } catch (error) {
      // Without a working picker, the next click opens the browser's plain one.
      if (error.name !== 'AbortError') input.dataset.resumableGlancePlain = 'true'
      return
    }
    const file = await handle.getFile()
    handles.set(identity(file), handle)
    const transfer = new DataTransfer()
    transfer.items.add(file)
    input.files = transfer.files
    input.dispatchEvent(new Event('change', { bubbles: true }))
  }

  function canPick(input) {
    return (
      input instanceof HTMLInputElement &&
      input.type === 'file' &&
      input.name === 'image_file' &&
      !input.disabled &&
      !input.dataset.resumableGlancePlain &&
      window.showOpenFilePicker &&
      document.getElementById('resumable-glance-indicator') // else the cloud has no service
    )
  }

  document.addEventListener('click', (event) => {
    if (canPick(event.target)) {
      event.preventDefault()
      pick(event.target)
    }
  })

  horizon.resumableGlance.filePicker = {
    /** The handle of a picked file, or undefined. */
    handleOf: (file) => handles.get(identity(file)),
  }
})()

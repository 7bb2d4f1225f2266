// Uploads the file that is chosen, with a client as it comes. Lists each answer, and at the end the upload or the error:
// as text for people, as JSON in data-said for tests.
//
//   page.html?client=tus-js-client&options={"endpoint": ..., further options of the client}
//
// What the browser remembers of an upload is used, as these clients advise it.

import { answer } from './answer.mjs'

const find = (selector) => document.querySelector(selector)

function say(text, what) {
  const line = document.createElement('li')
  line.textContent = text
  line.className = 'method' in what ? 'answer' : 'end'
  line.dataset.said = JSON.stringify(what)
  find('ol').append(line)
}

function answered(request, response) {
  const what = answer(request, response)
  say(`${what.method} ${what.status}${what.offset < 0 ? '' : `, offset ${what.offset}`}`, what)
}

const succeeded = (url) => say(`Uploaded: ${url}`, { url })
const failed = (error) => say(`Failed: ${error}`, { error: String(error) })

function progressed(sent, all) {
  find('progress').max = all
  find('progress').value = sent
}

async function uploadWithTusJsClient(file, options) {
  const upload = new tus.Upload(file, {
    metadata: { filename: file.name },
    ...options,
    onProgress: progressed,
    onError: failed,
    onSuccess: () => succeeded(upload.url),
  })
  const [previous] = await upload.findPreviousUploads()
  if (previous) upload.resumeFromPreviousUpload(previous)
  upload.start()
}

async function uploadWithUppy(file, options) {
  const { Tus, Uppy } = await import('./node_modules/uppy/dist/uppy.min.mjs')
  const uppy = new Uppy().use(Tus, options)
  uppy.on('upload-progress', (_, { bytesUploaded, bytesTotal }) => progressed(bytesUploaded, bytesTotal))
  uppy.on('upload-error', (_, error) => failed(error))
  uppy.on('upload-success', (_, { uploadURL }) => succeeded(uploadURL))
  uppy.addFile({ name: file.name, type: file.type, data: file })
  await uppy.upload()
}

const CLIENTS = { 'tus-js-client': uploadWithTusJsClient, Uppy: uploadWithUppy }

addEventListener('error', ({ message }) => failed(message))
addEventListener('unhandledrejection', ({ reason }) => failed(reason))

const asked = new URLSearchParams(location.search)
find('h1').textContent = `${asked.get('client')} uploads from ${location.origin}`
find('input').addEventListener('change', ({ target }) =>
  CLIENTS[asked.get('client')](target.files[0], {
    retryDelays: [100, 300, 1000, 3000, 3000, 3000],
    ...JSON.parse(asked.get('options')),
    onAfterResponse: answered,
  }),
)

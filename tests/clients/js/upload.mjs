// Uploads one file with tus-js-client, as it comes. Says a line of JSON for each answer, and at the end for the upload.
//
//   node upload.mjs '{"file": ..., "storage": ..., "options": {"endpoint": ..., further options of tus-js-client}}'
//
// `storage` is a file that remembers uploads over processes; null remembers nothing.

import { createReadStream } from 'node:fs'
import { FileUrlStorage, Upload } from 'tus-js-client'
import { answer } from './answer.mjs'

const { file, storage, options } = JSON.parse(process.argv[2])
const say = (what) => console.log(JSON.stringify(what))

const upload = new Upload(createReadStream(file), {
  retryDelays: [100, 300, 1000, 3000, 3000, 3000],
  ...options,
  ...(storage && { urlStorage: new FileUrlStorage(storage) }),
  onAfterResponse: (request, response) => say(answer(request, response)),
  onError: (error) => {
    console.error(String(error))
    process.exitCode = 1
  },
  onSuccess: () => say({ url: upload.url }),
})

const [previous] = storage ? await upload.findPreviousUploads() : []
if (previous) upload.resumeFromPreviousUpload(previous)
upload.start()

// Functions with which tests in Chromium control and watch an upload.

import * as ResumableGlance from 'resumable-glance'

globalThis.rg = ResumableGlance

const tasks = (globalThis.longTasks = [])
new PerformanceObserver((list) => tasks.push(...list.getEntries().map((each) => each.duration))).observe({
  type: 'longtask',
})

globalThis.follow = (upload) => {
  globalThis.upload = upload
  globalThis.seen = []
  upload.addEventListener('progress', ({ progress: { document, ...progress } }) => seen.push(progress))
  return upload
}

/** Upload `file`, by default the chosen one. */
globalThis.begin = (options, file = document.querySelector('input').files[0]) =>
  void follow(new rg.Upload(file, options)).start()

/** Resume the latest upload with the chosen file. */
globalThis.goOn = async (endpoint) => {
  const [previous] = await rg.Upload.findPrevious({ endpoint })
  follow(await previous.reopen(document.querySelector('input').files[0])).start()
}

/** The upload as plain data. */
globalThis.told = () => {
  const { document, ...progress } = upload.progress
  const error = upload.error && { code: upload.error.code, message: upload.error.message, advice: upload.error.advice }
  return { ...progress, document, url: upload.url, error, result: upload.result }
}
globalThis.ended = () => ['active', 'failed', 'cancelled'].includes(upload.phase)

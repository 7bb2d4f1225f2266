// Is checked, never run: what the documentation shows has types.

import { formatSize, memory, Upload, UploadError, type Options, type Progress } from 'resumable-glance'

export async function use(file: File, handle: FileSystemFileHandle): Promise<string> {
  const options: Options = {
    endpoint: 'https://glance.example',
    image: { disk_format: 'qcow2' },
    token: () => 'token',
    storage: memory(),
  }
  const upload = new Upload(file, options).start()
  upload.addEventListener('progress', ({ progress }) => console.log(progress.fraction, formatSize(progress.sent)))
  upload.addEventListener('error', (event) => console.log(event.type))
  const seen: Progress[] = []
  for await (const progress of upload) seen.push(progress)
  for (const previous of await Upload.findPrevious()) (await previous.reopen(previous.handle ? null : file)).start()
  try {
    const { image, receipt } = await new Upload(handle, { url: 'https://x/v1/uploads/a-1', ticket: 't' }).start().done
    return receipt?.jws ?? image.id
  } catch (error) {
    return error instanceof UploadError ? error.advice : ''
  }
}

// @ts-expect-error: an image has a format
new Upload(new File([], ''), { image: { name: 'x' } })

// @ts-expect-error: there is no such phase
new Upload(new File([], '')).phase === 'done'

// @ts-expect-error: the inside of an upload is private
new Upload(new File([], '')).begun

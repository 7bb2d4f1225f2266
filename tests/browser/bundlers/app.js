import { Upload } from 'resumable-glance'

globalThis.upload = async (endpoint) => {
  const [file] = document.querySelector('input').files
  const { image } = await new Upload(file, {
    endpoint,
    image: { disk_format: 'raw' },
  }).start().done
  return image.id
}

export { UploadError } from './errors.js'
export { Upload } from './upload.js'
export { indexedDb, memory } from './storage.js'

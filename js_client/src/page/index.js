// What the package exports.

export { formatSize } from '../core/size.js'
export { UploadError } from './errors.js'
export { indexedDb, memory } from './storage.js'
export * from './types.js'
export { Upload } from './upload.js'

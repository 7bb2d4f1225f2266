// Records of uploads, so that these can be resumed by another page or on another day.

/**
 * @typedef {import('./types.js').Storage} Storage
 * @typedef {import('./types.js').UploadRecord} UploadRecord
 */

/**
 * @template T
 * @param {IDBRequest<T>} request
 * @returns {Promise<T>}
 */
const settled = (request) =>
  new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result)
    request.onerror = () => reject(request.error)
  })

/**
 * Records in IndexedDB, which can keep a FileSystemFileHandle too.
 * @param {string} [name]  of the database
 * @returns {Storage}
 */
export const indexedDb = (name = 'resumable-glance') => {
  /** @type {Promise<IDBDatabase> | undefined} */
  let opened
  const open = () => {
    const request = indexedDB.open(name, 1)
    request.onupgradeneeded = () => request.result.createObjectStore('uploads', { keyPath: 'key' })
    return settled(request)
  }
  /**
   * @template T
   * @param {IDBTransactionMode} mode
   * @param {(store: IDBObjectStore) => IDBRequest<T>} act
   */
  const use = async (mode, act) =>
    settled(act((await (opened ??= open())).transaction('uploads', mode).objectStore('uploads')))
  return {
    get: (key) => use('readonly', (store) => store.get(key)),
    put: (record) => use('readwrite', (store) => store.put(record)),
    remove: (key) => use('readwrite', (store) => store.delete(key)),
    all: () => use('readonly', (store) => store.getAll()),
  }
}

/**
 * Records that live as long as the page.
 * @returns {Storage}
 */
export const memory = () => {
  /** @type {Map<string, UploadRecord>} */
  const records = new Map()
  return {
    get: async (key) => records.get(key),
    put: async (record) => void records.set(record.key, record),
    remove: async (key) => void records.delete(key),
    all: async () => [...records.values()],
  }
}

/**
 * A storage that removes expired records and those of nobody, and never fails: an upload works without one.
 * @param {Storage} storage
 */
export const careful = (storage) => {
  const usable = async (/** @type {UploadRecord | undefined} */ record) => {
    if (!record || (record.identity && record.expires > Date.now())) return record
    await storage.remove(record.key)
  }
  /** @template T @param {() => Promise<T>} act @returns {Promise<T | undefined>} */
  const ignoringErrors = (act) => act().catch(() => undefined)
  return {
    get: (/** @type {string} */ key) => ignoringErrors(async () => usable(await storage.get(key))),
    put: (/** @type {UploadRecord} */ record) => ignoringErrors(() => storage.put(record)),
    remove: (/** @type {string} */ key) => ignoringErrors(() => storage.remove(key)),
    all: async () => {
      const records = (await ignoringErrors(() => storage.all())) ?? []
      return (await Promise.all(records.map(usable))).filter((record) => record !== undefined)
    },
  }
}

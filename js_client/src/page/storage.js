// What is remembered of uploads, so that they go on in another page or another day. Records have a `key` and `expires`.

const wish = (request) =>
  new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result)
    request.onerror = () => reject(request.error)
  })

/** In IndexedDB, where a FileSystemFileHandle can be kept too. */
export const indexedDb = (name = 'resumable-glance') => {
  let opened
  const open = () => {
    const request = indexedDB.open(name, 1)
    request.onupgradeneeded = () => request.result.createObjectStore('uploads', { keyPath: 'key' })
    return wish(request)
  }
  const use = async (mode, what) =>
    wish(what((await (opened ??= open())).transaction('uploads', mode).objectStore('uploads')))
  return {
    get: (key) => use('readonly', (store) => store.get(key)),
    put: (record) => use('readwrite', (store) => store.put(record)),
    remove: (key) => use('readwrite', (store) => store.delete(key)),
    all: () => use('readonly', (store) => store.getAll()),
  }
}

/** For as long as this page lives. */
export const memory = () => {
  const records = new Map()
  return {
    get: async (key) => records.get(key),
    put: async (record) => void records.set(record.key, record),
    remove: async (key) => void records.delete(key),
    all: async () => [...records.values()],
  }
}

/** A storage that forgets what has expired, and never fails: an upload goes on without one. */
export const careful = (storage) => {
  const fresh = async (record) => {
    if (!record || record.expires > Date.now()) return record
    await storage.remove(record.key)
  }
  const calm = (work) => work().catch(() => undefined)
  return {
    get: (key) => calm(async () => fresh(await storage.get(key))),
    put: (record) => calm(() => storage.put(record)),
    remove: (key) => calm(() => storage.remove(key)),
    all: async () => (await Promise.all(((await calm(() => storage.all())) ?? []).map(fresh))).filter(Boolean),
  }
}

// The types of what the package exports. `tsc` makes dist/types of them.

/**
 * The phase of an upload: `new` until start(); `active`, `failed` and `cancelled` are final, and only `failed` can be
 * started again.
 * @typedef {import('../core/vocabulary.js').Phase} Phase
 */

/**
 * The kind of a failure. These names are stable.
 * @typedef {import('../core/vocabulary.js').Code} Code
 */

/**
 * @typedef {object} Progress
 * @property {Phase} phase
 * @property {number} size  Bytes of the file.
 * @property {number} durable  Bytes that the service has acknowledged: they survive any failure.
 * @property {number} sent  Bytes that are durable or on their way. Never decreases.
 * @property {number} fraction  Of the whole way, 0 to 1. Never decreases, and is 1 only when the image is active.
 * @property {number} rate  Bytes per second on the wire, smoothed; 0 while nothing is sent.
 * @property {number | null} eta  Seconds until all bytes are sent; null if unknown.
 * @property {string | null} lastError  Why the upload waits, for people; null if it does not.
 * @property {Readonly<Record<string, any>> | null} document  The upload as the service described it last:
 *   docs/native-protocol.md lists the members.
 */

/**
 * @typedef {object} Result
 * @property {string} id
 * @property {string} url
 * @property {{ readonly id: string, readonly name: string | null, readonly store: string | null }} image
 * @property {number} size
 * @property {{ readonly md5: string, readonly sha512: string }} hashes  What the service computed over all bytes;
 *   Glance's are equal.
 * @property {string} [md5]  What this browser computed over the file; equal to `hashes.md5`. Undefined if nothing was
 *   left to send.
 * @property {(Readonly<Record<string, any>> & { readonly jws: string }) | null} receipt  The signed receipt
 *   (docs/native-protocol.md), to prove this to others; null if the service gave none.
 */

/**
 * Metadata of the new image (docs/native-protocol.md).
 * @typedef {object} Image
 * @property {string} [name]  By default that of the file.
 * @property {string} disk_format
 * @property {string} [container_format]  By default `bare`.
 * @property {'private' | 'shared' | 'community' | 'public'} [visibility]
 * @property {number} [min_disk]
 * @property {number} [min_ram]
 * @property {boolean} [protected]
 * @property {string[]} [tags]
 * @property {Record<string, string>} [properties]
 */

/**
 * What is remembered of an upload. Other members are private.
 * @typedef {{ readonly key: string, readonly identity: string, readonly url: string | null, readonly expires: number,
 *   readonly [more: string]: any }} UploadRecord  `expires` is in milliseconds since the epoch.
 */

/**
 * Where uploads are remembered. Every method may fail.
 * @typedef {object} Storage
 * @property {(key: string) => Promise<UploadRecord | undefined>} get
 * @property {(record: UploadRecord) => Promise<unknown>} put
 * @property {(key: string) => Promise<unknown>} remove
 * @property {() => Promise<UploadRecord[]>} all
 */

/**
 * @typedef {object} Options
 * @property {string} [endpoint]  Base URL of the service; by default the origin of the page.
 * @property {Image} [image]  The image to create. Give either this, or `image_id`, or `url`.
 * @property {string} [image_id]  A queued image to fill.
 * @property {string} [store]  The Glance store to use.
 * @property {{ md5?: string, sha256?: string, sha512?: string }} [digests]  Known digests of the whole file, in
 *   hexadecimal.
 * @property {string | null} [url]  An upload that exists already.
 * @property {string | null} [ticket]  The ticket for it.
 * @property {string | (() => string | Promise<string>)} [token]  A Keystone token, or a function that gets one. Without
 *   it no upload can be created, except in development.
 * @property {string | (() => string | Promise<string>)} [identity]  Whom uploads are remembered for: any text that
 *   tells users and their projects apart, or a function that gets one. By default the service tells a digest of the
 *   token's user and project; with a ticket alone, the upload is remembered for those who have its `url`.
 * @property {(url: string) => string | { value: string } | Promise<string | { value: string }>} [renewTicket]  Called
 *   once when the ticket has expired.
 * @property {number} [largestChunk]  Bytes (64 MiB). Chunks adapt to the network below that.
 * @property {number} [parallel]  Chunks at a time (4). Adapts, too.
 * @property {boolean} [zeros]  False: runs of zeros are sent like other bytes.
 * @property {number} [stall]  Seconds without progress after which a request is aborted (30).
 * @property {boolean} [guard]  False: the browser does not ask before it leaves the page with bytes not yet safe.
 * @property {string | URL | (() => Worker)} [worker]  Address of the worker's script, or a function that makes the
 *   worker. By default the script is beside this module.
 * @property {Storage} [storage]
 */

/**
 * An upload that this browser has begun and not finished.
 * @typedef {object} Previous
 * @property {string} key
 * @property {string} identity
 * @property {string} url
 * @property {string} name
 * @property {number} size
 * @property {number} received  Bytes that were durable at the last answer.
 * @property {number} begun  Milliseconds since the epoch.
 * @property {number} expires  Milliseconds since the epoch.
 * @property {FileSystemFileHandle} [handle]  If the browser has kept one, the file need not be chosen again.
 * @property {(file?: File | null, options?: Options) => Promise<import('./upload.js').Upload>} reopen  Return the
 *   upload, to be started. Call it in a click: the browser may ask for permission to read the file. If all bytes are
 *   durable, no file is needed.
 * @property {() => Promise<unknown>} forget
 */

/** @typedef {Event & { readonly progress: Readonly<Progress> }} UploadEvent */

/**
 * Events: `progress` (anything is new), `phase` (another phase), `end`.
 * @typedef {object} UploadEvents
 * @property {(type: 'progress' | 'phase' | 'end', listener: (event: UploadEvent) => void,
 *   options?: AddEventListenerOptions | boolean) => void} addEventListener
 */

export {}

/** Where an upload is. `new` until start(); the last three are ends, and only `failed` can be started again. */
export type Phase =
  | 'new'
  | 'preparing'
  | 'hashing'
  | 'uploading'
  | 'waiting'
  | 'paused'
  | 'handing over'
  | 'verifying'
  | 'cancelling'
  | 'active'
  | 'failed'
  | 'cancelled'

/** What a failure is; stable. */
export type Code =
  | 'unauthenticated'
  | 'forbidden'
  | 'gone'
  | 'file-changed'
  | 'file-unreadable'
  | 'too-large'
  | 'refused'
  | 'damaged'
  | 'undelivered'
  | 'unhashed'
  | 'cancelled'

export interface Progress {
  readonly phase: Phase
  /** Bytes of the file. */
  readonly size: number
  /** Bytes that the service has acknowledged: they survive whatever happens. */
  readonly durable: number
  /** Bytes that are durable or on their way. Never decreases. */
  readonly sent: number
  /** Of the whole way, 0 to 1. Never decreases, and is 1 only when the image is active. */
  readonly fraction: number
  /** Bytes a second on the wire, smoothed; 0 while nothing is sent. */
  readonly rate: number
  /** Seconds until all bytes are sent; null if that can't be told. */
  readonly eta: number | null
  /** Why it waits, for a person; null if it does not. */
  readonly trouble: string | null
  /** What the service said of the upload last: docs/native-protocol.md has its members. */
  readonly document: Readonly<Record<string, any>> | null
}

export interface Result {
  readonly id: string
  readonly url: string
  readonly image: { readonly id: string; readonly name: string | null; readonly store: string | null }
  readonly size: number
  /** What the service computed over all bytes; Glance's are equal. */
  readonly hashes: { readonly md5: string; readonly sha512: string }
  /** What this browser computed over the file; equal to `hashes.md5`. Undefined if nothing was left to be sent. */
  readonly md5?: string
  /** The signed receipt (docs/native-protocol.md): keep it to prove this to others. Null if it could not be had. */
  readonly receipt: (Readonly<Record<string, any>> & { readonly jws: string }) | null
}

/** What trying again can't mend. */
export class UploadError extends Error {
  readonly name: 'UploadError'
  readonly code: Code
  /** What a person can do about it. */
  readonly advice: string
  /** HTTP status, the service's own reason and request id, where an answer was the cause. */
  readonly status?: number | null
  readonly reason?: string | null
  readonly requestId?: string | null
}

/** Metadata of the new image: docs/native-protocol.md. `name` is the file's, `container_format` is `bare` by itself. */
export interface Image {
  name?: string
  disk_format: string
  container_format?: string
  visibility?: 'private' | 'shared' | 'community' | 'public'
  min_disk?: number
  min_ram?: number
  protected?: boolean
  tags?: string[]
  properties?: Record<string, string>
}

/** Where uploads are remembered; every method may fail. */
export interface Storage {
  get(key: string): Promise<Remembered | undefined>
  put(record: Remembered): Promise<unknown>
  remove(key: string): Promise<unknown>
  all(): Promise<Remembered[]>
}

export interface Remembered {
  readonly key: string
  readonly url: string
  /** Milliseconds since the epoch. */
  readonly expires: number
  readonly [more: string]: any
}

export interface Options {
  /** Base URL of the service; by itself the origin of the page. */
  endpoint?: string
  /** The image to be made. Either this, or `image_id`, or `url`. */
  image?: Image
  /** A queued image, which is filled. */
  image_id?: string
  /** The Glance store that it goes to. */
  store?: string
  /** Digests of the whole file that are known already, in hexadecimal. */
  digests?: { md5?: string; sha256?: string; sha512?: string }
  /** An upload that somebody else has created. */
  url?: string
  /** The ticket for it. */
  ticket?: string
  /** A Keystone token, or what gives one. Only with one an upload can be created. */
  token?: string | (() => string | Promise<string>)
  /** Asked once when the ticket has ended. */
  renewTicket?: (url: string) => string | { value: string } | Promise<string | { value: string }>
  /** Largest chunk in bytes (64 MiB), and the most at a time (4). Both adapt to the link below that. */
  largestChunk?: number
  parallel?: number
  /** False: runs of zeros are sent like everything else. */
  zeros?: boolean
  /** Seconds without progress after which a request is given up (30). */
  stall?: number
  /** False: the page may be left without a question while bytes are not safe. */
  guard?: boolean
  /** Where the worker's script is, or what makes a worker. By itself it is beside this module. */
  worker?: string | URL | (() => Worker)
  storage?: Storage
}

export interface Previous {
  readonly key: string
  readonly url: string
  readonly name: string
  readonly size: number
  /** Bytes that were durable when it was heard of last. */
  readonly received: number
  /** Milliseconds since the epoch. */
  readonly begun: number
  readonly expires: number
  /** Where the browser has it, the file need not be picked again. */
  readonly handle?: FileSystemFileHandle
  /**
   * The upload, to be started. Call it in a click: the browser may ask whether the file may be read. If all bytes were
   * durable already, no file is needed.
   */
  reopen(file?: File | null, options?: Options): Promise<Upload>
  forget(): Promise<void>
}

export interface UploadEvent extends Event {
  readonly progress: Progress
}

/** Events: `progress` (whatever is new), `phase` (another phase), `end`. */
export class Upload extends EventTarget implements AsyncIterable<Progress> {
  constructor(source: File | FileSystemFileHandle, options?: Options)
  static findPrevious(options?: Options): Promise<Previous[]>
  readonly phase: Phase
  readonly progress: Progress
  readonly url: string | null
  readonly error: UploadError | null
  readonly result: Result | null
  /** Settles at the end; rejects with an UploadError. After a failure, start() makes another one. */
  readonly done: Promise<Result>
  /** Begin, or go on after a pause or a failure. */
  start(): this
  resume(): this
  pause(): void
  /** End it, here and at the service. */
  cancel(): void
  addEventListener(
    type: 'progress' | 'phase' | 'end',
    listener: (event: UploadEvent) => void,
    options?: AddEventListenerOptions | boolean,
  ): void
  addEventListener(
    type: string,
    listener: EventListenerOrEventListenerObject | null,
    options?: AddEventListenerOptions | boolean,
  ): void
  [Symbol.asyncIterator](): AsyncIterator<Progress>
}

/** Records in IndexedDB, and records that live as long as the page. */
export function indexedDb(name?: string): Storage
export function memory(): Storage

/** The classic script (`resumable-glance.iife.js`) has all of this as members of `ResumableGlance`. */
export as namespace ResumableGlance

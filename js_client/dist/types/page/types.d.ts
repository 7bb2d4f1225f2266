/**
 * The phase of an upload: `new` until start(); `active`, `failed` and `cancelled` are final, and only `failed` can be
 * started again.
 */
export type Phase = import("../core/vocabulary.js").Phase;
/**
 * The kind of a failure. These names are stable.
 */
export type Code = import("../core/vocabulary.js").Code;
export type Progress = {
    phase: Phase;
    /**
     * Bytes of the file.
     */
    size: number;
    /**
     * Bytes that the service has acknowledged: they survive any failure.
     */
    durable: number;
    /**
     * Bytes that are durable or on their way. Never decreases.
     */
    sent: number;
    /**
     * Of the whole way, 0 to 1. Never decreases, and is 1 only when the image is active.
     */
    fraction: number;
    /**
     * Bytes per second on the wire, smoothed; 0 while nothing is sent.
     */
    rate: number;
    /**
     * Seconds until all bytes are sent; null if unknown.
     */
    eta: number | null;
    /**
     * Why the upload waits, for people; null if it does not.
     */
    lastError: string | null;
    /**
     * The upload as the service described it last:
     * docs/native-protocol.md lists the members.
     */
    document: Readonly<Record<string, any>> | null;
};
export type Result = {
    id: string;
    url: string;
    image: {
        readonly id: string;
        readonly name: string | null;
        readonly store: string | null;
    };
    size: number;
    /**
     * What the service computed over all bytes;
     * Glance's are equal.
     */
    hashes: {
        readonly md5: string;
        readonly sha512: string;
    };
    /**
     * What this browser computed over the file; equal to `hashes.md5`. Undefined if nothing was
     * left to send.
     */
    md5?: string | undefined;
    /**
     * The signed receipt
     * (docs/native-protocol.md), to prove this to others; null if the service gave none.
     */
    receipt: (Readonly<Record<string, any>> & {
        readonly jws: string;
    }) | null;
};
/**
 * Metadata of the new image (docs/native-protocol.md).
 */
export type Image = {
    /**
     * By default that of the file.
     */
    name?: string | undefined;
    disk_format: string;
    /**
     * By default `bare`.
     */
    container_format?: string | undefined;
    visibility?: "private" | "shared" | "community" | "public" | undefined;
    min_disk?: number | undefined;
    min_ram?: number | undefined;
    protected?: boolean | undefined;
    tags?: string[] | undefined;
    properties?: Record<string, string> | undefined;
};
/**
 * `expires` is in milliseconds since the epoch.
 */
export type UploadRecord = {
    readonly key: string;
    readonly identity: string;
    readonly url: string | null;
    readonly expires: number;
    readonly [more: string]: any;
};
/**
 * Where uploads are remembered. Every method may fail.
 */
export type Storage = {
    get: (key: string) => Promise<UploadRecord | undefined>;
    put: (record: UploadRecord) => Promise<unknown>;
    remove: (key: string) => Promise<unknown>;
    all: () => Promise<UploadRecord[]>;
};
export type Options = {
    /**
     * Base URL of the service; by default the origin of the page.
     */
    endpoint?: string | undefined;
    /**
     * The image to create. Give either this, or `image_id`, or `url`.
     */
    image?: Image | undefined;
    /**
     * A queued image to fill.
     */
    image_id?: string | undefined;
    /**
     * The Glance store to use.
     */
    store?: string | undefined;
    /**
     * Known digests of the whole file, in
     * hexadecimal.
     */
    digests?: {
        md5?: string;
        sha256?: string;
        sha512?: string;
    } | undefined;
    /**
     * An upload that exists already.
     */
    url?: string | null | undefined;
    /**
     * The ticket for it.
     */
    ticket?: string | null | undefined;
    /**
     * A Keystone token, or a function that gets one. Without
     * it no upload can be created, except in development.
     */
    token?: string | (() => string | Promise<string>) | undefined;
    /**
     * Whom uploads are remembered for: any text that
     * tells users and their projects apart, or a function that gets one. By default the service tells a digest of the
     * token's user and project; with a ticket alone, the upload is remembered for those who have its `url`.
     */
    identity?: string | (() => string | Promise<string>) | undefined;
    /**
     * Called
     * once when the ticket has expired.
     */
    renewTicket?: ((url: string) => string | {
        value: string;
    } | Promise<string | {
        value: string;
    }>) | undefined;
    /**
     * Bytes (64 MiB). Chunks adapt to the network below that.
     */
    largestChunk?: number | undefined;
    /**
     * Chunks at a time (4). Adapts, too.
     */
    parallel?: number | undefined;
    /**
     * False: runs of zeros are sent like other bytes.
     */
    zeros?: boolean | undefined;
    /**
     * Seconds without progress after which a request is aborted (30).
     */
    stall?: number | undefined;
    /**
     * False: the browser does not ask before it leaves the page with bytes not yet safe.
     */
    guard?: boolean | undefined;
    /**
     * Address of the worker's script, or a function that makes the
     * worker. By default the script is beside this module.
     */
    worker?: string | URL | (() => Worker) | undefined;
    storage?: Storage | undefined;
};
/**
 * An upload that this browser has begun and not finished.
 */
export type Previous = {
    key: string;
    identity: string;
    url: string;
    name: string;
    size: number;
    /**
     * Bytes that were durable at the last answer.
     */
    received: number;
    /**
     * Milliseconds since the epoch.
     */
    begun: number;
    /**
     * Milliseconds since the epoch.
     */
    expires: number;
    /**
     * If the browser has kept one, the file need not be chosen again.
     */
    handle?: FileSystemFileHandle | undefined;
    /**
     * Return the
     * upload, to be started. Call it in a click: the browser may ask for permission to read the file. If all bytes are
     * durable, no file is needed.
     */
    reopen: (file?: File | null, options?: Options) => Promise<import("./upload.js").Upload>;
    forget: () => Promise<unknown>;
};
export type UploadEvent = Event & {
    readonly progress: Readonly<Progress>;
};
/**
 * Events: `progress` (anything is new), `phase` (another phase), `end`.
 */
export type UploadEvents = {
    addEventListener: (type: "progress" | "phase" | "end", listener: (event: UploadEvent) => void, options?: AddEventListenerOptions | boolean) => void;
};

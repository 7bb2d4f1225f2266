declare const Upload_base: new () => import("./types.js").UploadEvents & EventTarget;
/** @implements {AsyncIterable<Readonly<Progress>>} */
export class Upload extends Upload_base implements AsyncIterable<Readonly<Progress>> {
    /**
     * The uploads that this browser has begun for the same identity and not finished, newest first. Waits for a service
     * that is away; rejects with an UploadError if it does not accept the token.
     * @param {Options} [options]
     * @returns {Promise<Previous[]>}
     */
    static findPrevious(options?: Options): Promise<Previous[]>;
    /**
     * Forget the uploads of the same identity, as when somebody signs out. Pause those that run first.
     * @param {Options} [options]
     */
    static forgetPrevious(options?: Options): Promise<void>;
    /**
     * @param {File | FileSystemFileHandle | null | undefined} source
     * @param {Options} [options]
     */
    constructor(source: File | FileSystemFileHandle | null | undefined, options?: Options);
    /** @type {UploadError | null} */
    error: UploadError | null;
    /** @type {Result | null} */
    result: Result | null;
    /** @type {string | null} */
    url: string | null;
    /**
     * Settles at the end; rejects with an UploadError. After a failure, start() replaces it.
     * @type {Promise<Result>}
     */
    done: Promise<Result>;
    get phase(): "new" | "preparing" | "hashing" | "uploading" | "waiting" | "paused" | "handing over" | "verifying" | "cancelling" | "active" | "failed" | "cancelled";
    get progress(): Readonly<import("./types.js").Progress>;
    /** Start, or go on after a pause or a failure. */
    start(): this;
    resume(): this;
    pause(): void;
    /** End the upload, here and at the service. */
    cancel(): void;
    /**
     * Iterate over the progress until the end; throws what `done` rejects with.
     * @returns {AsyncGenerator<Readonly<Progress>, void>}
     */
    [Symbol.asyncIterator](): AsyncGenerator<Readonly<Progress>, void>;
    #private;
}
export type Options = import("./types.js").Options;
export type Previous = import("./types.js").Previous;
export type Progress = import("./types.js").Progress;
export type Result = import("./types.js").Result;
import { UploadError } from './errors.js';
export {};

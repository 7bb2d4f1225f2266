/** A failure that retrying cannot solve. */
export class UploadError extends Error {
    /** @param {import('../core/vocabulary.js').Failure} failure */
    constructor({ code, message, status, reason, requestId }: import("../core/vocabulary.js").Failure);
    name: "UploadError";
    /** The kind of failure; these names are stable. */
    code: import("../core/vocabulary.js").Code;
    /** What a person can do about it. */
    advice: string;
    /** HTTP status, if an answer was the cause. */
    status: number | null | undefined;
    /** The service's reason, if it gave one. */
    reason: string | null | undefined;
    /** The request id to give to an operator. */
    requestId: string | null | undefined;
}
export type Code = import("../core/vocabulary.js").Code;

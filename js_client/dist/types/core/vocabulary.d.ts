/** The phases of an upload: `new` until start(); the last three are final, and only `failed` can be started again. */
export const PHASES: readonly ["new", "preparing", "hashing", "uploading", "waiting", "paused", "handing over", "verifying", "cancelling", "active", "failed", "cancelled"];
export function isFinal(phase: Phase): phase is "active" | "failed" | "cancelled";
export namespace SENTENCES {
    let anotherOwner: string;
    let anotherTab: string;
    let cancelled: string;
    let connectionLost: string;
    let credentialsRefused: string;
    let elsewhere: string;
    let fileNeeded: string;
    let fileForbidden: string;
    let noAnswer: string;
    let otherContent: string;
    let workerFailed: string;
}
export type Phase = (typeof PHASES)[number];
/**
 * A failure as plain data, which a worker can post to its page.
 */
export type Code = "unauthenticated" | "forbidden" | "gone" | "file-changed" | "file-unreadable" | "too-large" | "refused" | "damaged" | "undelivered" | "unhashed" | "cancelled";
/**
 * The kind of a failure.
 */
export type Failure = {
    code: Code;
    /**
     * for people
     */
    message: string;
    status?: number | null | undefined;
    /**
     * the service's, if an answer was the cause
     */
    reason?: string | null | undefined;
    requestId?: string | null | undefined;
};

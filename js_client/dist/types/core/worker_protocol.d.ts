/**
 * The messages to the page. `ask` wants a reply with the result of a function that the page has.
 */
export type ToWorker = {
    open: File | {
        size: number;
        fingerprint: string;
    };
} | {
    begin: Settings;
} | {
    event: {
        type: "start" | "pause" | "cancel" | "wake";
    };
} | {
    reply: number;
    value?: any;
    error?: string;
};
/**
 * The messages to the worker. A file that is not at hand is { size, fingerprint }.
 */
export type ToPage = {
    opened: string;
} | {
    progress: object;
    error: Failure | null;
    url: string | null;
    isUnsafe: boolean;
} | {
    save: object;
} | {
    forget: true;
} | {
    finish: object;
} | {
    ask: number;
    what: "token" | "renewTicket";
    url?: string;
} | {
    error: Failure;
};
/**
 * The messages to the worker. A file that is not at hand is { size, fingerprint }.
 */
export type Failure = import("./vocabulary.js").Failure;
/**
 * The messages to the worker. A file that is not at hand is { size, fingerprint }.
 */
export type Settings = {
    /**
     * URL of the collection
     */
    uploads: string;
    url?: string | null | undefined;
    /**
     * true if the page has a function for it
     */
    token?: string | true | undefined;
    ticket?: string | null | undefined;
    /**
     * whether the page has a function for it
     */
    renewTicket: boolean;
    /**
     * of the upload to be created
     */
    description: object;
    /**
     * idempotency key of the creation
     */
    key: string;
    recreate: boolean;
    /**
     * bytes
     */
    maxChunkSize?: number | undefined;
    maxParallel?: number | undefined;
    scanZeros?: boolean | undefined;
    /**
     * seconds
     */
    stall?: number | undefined;
};

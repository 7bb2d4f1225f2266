export function indexedDb(name?: string): Storage;
export function memory(): Storage;
export function careful(storage: Storage): {
    get: (key: string) => Promise<import("./types.js").UploadRecord | undefined>;
    put: (record: UploadRecord) => Promise<unknown>;
    remove: (key: string) => Promise<unknown>;
    all: () => Promise<import("./types.js").UploadRecord[]>;
};
export type Storage = import("./types.js").Storage;
export type UploadRecord = import("./types.js").UploadRecord;

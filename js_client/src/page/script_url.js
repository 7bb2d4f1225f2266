// Where the classic script came from: there, the build puts this in the place of import.meta.url.

export const SCRIPT_URL = /** @type {HTMLScriptElement | null} */ (document.currentScript)?.src

export * from './types/page/index.js'
export as namespace ResumableGlance

// Fails where a module of src/ imports what its room may not: page and worker import core alone, core imports neither.

import { readFile, readdir } from 'node:fs/promises'
import process from 'node:process'

const ALLOWED = {
  page: ['page', 'core'],
  worker: ['worker', 'core', 'hash-wasm', 'eventsource-parser'],
  core: ['core'],
}
const IMPORT = /\b(?:from|import)\s*\(?\s*(['"])(?<target>[^'"]+)\1/g // in code and in types

const src = new URL('src/', import.meta.url)
const modules = (await readdir(src, { recursive: true })).filter((path) => path.endsWith('.js'))
if (!modules.length) throw new Error('There are no modules in src/.')
for (const module of modules) {
  const url = new URL(module, src)
  const room = module.split(/[\\/]/)[0]
  for (const { groups } of (await readFile(url, 'utf8')).matchAll(IMPORT)) {
    const { target } = groups
    const goal = target.startsWith('.') ? new URL(target, url).href.slice(src.href.length).split('/')[0] : target
    if (ALLOWED[room]?.includes(goal)) continue
    console.error(`src/${module} may not import ${target}`)
    process.exitCode = 1
  }
}

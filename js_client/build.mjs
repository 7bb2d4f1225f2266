// Makes dist/ of src/, and copies what the page of the service loads; --check fails where that would change a file.

import { mkdir, readFile, readdir, rm, writeFile } from 'node:fs/promises'
import { dirname, join, relative } from 'node:path'
import process from 'node:process'
import { fileURLToPath } from 'node:url'
import esbuild from 'esbuild'
import ts from 'typescript'

const here = fileURLToPath(new URL('.', import.meta.url))
process.chdir(here)

const common = {
  bundle: true,
  minify: true,
  target: 'es2022',
  write: false,
  banner: { js: '/*! resumable-glance, Apache-2.0 */' },
  logLevel: 'error',
}

const SCRIPTS = {
  'resumable-glance.js': { entryPoints: ['src/page/index.js'], format: 'esm' },
  'resumable-glance.iife.js': {
    entryPoints: ['src/page/index.js'],
    format: 'iife',
    globalName: 'ResumableGlance',
    define: { 'import.meta.url': 'SCRIPT_URL' },
    inject: ['src/page/script_url.js'],
  },
  'resumable-glance.worker.js': { entryPoints: ['src/worker/worker.js'], format: 'iife', legalComments: 'inline' },
}

const INCLUDED = ['eventsource-parser', 'hash-wasm'] // in the worker's script
const LICENCES = 'dist/resumable-glance.worker.LICENSES.txt'
const CLASSIC_TYPES = "export * from './types/page/index.js'\nexport as namespace ResumableGlance\n"
const PAGE = '../resumable_glance/api/page/files'
const PAGE_SCRIPTS = ['resumable-glance.js', 'resumable-glance.worker.js']

/** Those of `files` that the declarations at `path` refer to, and itself. */
const reachable = (path, files, found = {}) => {
  if (path in found) return found
  found[path] = files[path]
  for (const [, target] of files[path].matchAll(/["'](\.\.?\/[^"']+)\.js["']/g))
    reachable(join(dirname(path), `${target}.d.ts`), files, found)
  return found
}

/** The declarations of the public modules, by path. */
const declarations = () => {
  const { config } = ts.readConfigFile('tsconfig.json', ts.sys.readFile)
  const { options } = ts.convertCompilerOptionsFromJson(config.compilerOptions, here)
  const emitting = { ...options, noEmit: false, declaration: true, emitDeclarationOnly: true, outDir: 'dist/types' }
  const made = {}
  const program = ts.createProgram(['src/page/index.js'], { ...emitting, rootDir: 'src' })
  program.emit(undefined, (path, text) => (made[relative(here, path)] = text))
  return reachable('dist/types/page/index.d.ts', made)
}

const made = { ...declarations(), 'dist/resumable-glance.iife.d.ts': CLASSIC_TYPES }
for (const [name, options] of Object.entries(SCRIPTS)) {
  const { outputFiles } = await esbuild.build({ ...common, ...options })
  made[`dist/${name}`] = outputFiles[0].text
}
made[LICENCES] = ''
for (const name of INCLUDED) made[LICENCES] += `${name}\n\n${await readFile(`node_modules/${name}/LICENSE`, 'utf8')}\n`
for (const name of PAGE_SCRIPTS) made[`${PAGE}/${name}`] = made[`dist/${name}`]

const check = process.argv.includes('--check')
const present = await readdir('dist', { recursive: true, withFileTypes: true }).catch(() => [])
const surplus = present
  .filter((entry) => entry.isFile())
  .map((entry) => relative('.', `${entry.parentPath ?? entry.path}/${entry.name}`))
  .filter((path) => !(path in made))

for (const path of surplus) {
  if (!check) await rm(path)
}
const stale = [...surplus]
for (const [path, text] of Object.entries(made)) {
  if ((await readFile(path, 'utf8').catch(() => null)) === text) continue
  stale.push(path)
  if (check) continue
  await mkdir(dirname(path), { recursive: true })
  await writeFile(path, text)
}
if (check) {
  for (const path of stale) console.error(`${path} is not up to date: run python3 noxfile.py -s generate`)
  process.exitCode = stale.length ? 1 : 0
}

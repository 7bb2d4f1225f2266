// Makes dist/ from src/, and copies what the page of the service loads; with --check fails where one is not what would be made.

import { readFile, writeFile, mkdir } from 'node:fs/promises'
import process from 'node:process'
import esbuild from 'esbuild'

const LICENCE = '/*! resumable-glance, Apache-2.0 */'
const common = {
  bundle: true,
  minify: true,
  mangleProps: /^_/, // private members: nobody else has their names
  target: 'es2022',
  write: false,
  banner: { js: LICENCE },
  logLevel: 'error',
}

const BUILDS = {
  'resumable-glance.js': { entryPoints: ['src/page/index.js'], format: 'esm' },
  'resumable-glance.iife.js': {
    entryPoints: ['src/page/index.js'],
    format: 'iife',
    globalName: 'ResumableGlance',
    define: { 'import.meta.url': '""' }, // it finds its worker by document.currentScript
  },
  'resumable-glance.worker.js': { entryPoints: ['src/worker/worker.js'], format: 'iife', legalComments: 'inline' },
}

const check = process.argv.includes('--check')
const here = new URL('.', import.meta.url)
const made = { 'resumable-glance.d.ts': await readFile(new URL('dist/resumable-glance.d.ts', here), 'utf8') }
for (const [name, build] of Object.entries(BUILDS)) {
  const { outputFiles } = await esbuild.build({ ...common, ...build, absWorkingDir: here.pathname })
  made[name] = outputFiles[0].text
}
await mkdir(new URL('dist', here), { recursive: true })
const places = Object.entries(made).map(([name, text]) => [`dist/${name}`, text])
for (const name of ['resumable-glance.js', 'resumable-glance.worker.js'])
  places.push([`../resumable_glance/page/files/${name}`, made[name]])
let old = 0
for (const [place, text] of places) {
  const file = new URL(place, here)
  if (!check) await writeFile(file, text)
  else if ((await readFile(file, 'utf8').catch(() => '')) !== text) {
    console.error(`${place} is not what js_client/src makes: run python3 noxfile.py -s generate`)
    old += 1
  }
}
process.exitCode = old ? 1 : 0

// The scripts that a page loads are small, and README.md states their sizes.

import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import esbuild from 'esbuild'

const KB = 1000
const read = (file) => readFile(new URL(`../${file}`, import.meta.url))
const size = async (file) => gzipSync(await read(`dist/${file}`), { level: 9 }).length

const LIMITS = {
  'resumable-glance.js': 6 * KB,
  'resumable-glance.iife.js': 6 * KB,
  'resumable-glance.worker.js': 15.5 * KB,
}

for (const [file, limit] of Object.entries(LIMITS))
  test(`${file} has at most ${limit} bytes, minified and compressed`, async () => {
    assert.ok((await size(file)) <= limit, `${await size(file)}`)
  })

test('README.md states the sizes', async () => {
  const readme = String(await read('README.md'))
  for (const file of Object.keys(LIMITS)) {
    const [, stated] =
      readme.match(new RegExp(`\\| \`${file.replaceAll('.', '\\.')}\` \\|.*\\| ([\\d.]+) kB \\|`)) ?? []
    assert.ok(stated, `${file} is not in the table`)
    assert.ok(Math.abs(Number(stated) * KB - (await size(file))) <= 150, `${file} has ${await size(file)} bytes`)
  }
})

test('README.md states the shares of the engine and of md5', async () => {
  const [, engine, md5] = String(await read('README.md')).match(/the engine has ([\d.]+) kB and md5 ([\d.]+) kB/)
  const { outputFiles } = await esbuild.build({
    absWorkingDir: fileURLToPath(new URL('..', import.meta.url)),
    entryPoints: ['src/worker/worker.js'],
    external: ['hash-wasm'],
    format: 'esm',
    bundle: true,
    minify: true,
    write: false,
  })
  const without = gzipSync(outputFiles[0].contents, { level: 9 }).length
  const within = (await size('resumable-glance.worker.js')) - without
  assert.ok(Math.abs(Number(engine) * KB - without) <= 150, `${without} bytes`)
  assert.ok(Math.abs(Number(md5) * KB - within) <= 150, `${within} bytes`)
})

test('there are no dependencies at run time', async () => {
  const { dependencies } = JSON.parse(await read('package.json'))
  assert.equal(dependencies, undefined)
})

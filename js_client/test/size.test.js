// What a page has to load is small, and README.md says how small.

import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { test } from 'node:test'
import { gzipSync } from 'node:zlib'

const KB = 1000
const read = (file) => readFile(new URL(`../${file}`, import.meta.url))
const size = async (file) => gzipSync(await read(`dist/${file}`), { level: 9 }).length

const LIMITS = {
  'resumable-glance.js': 6 * KB,
  'resumable-glance.iife.js': 6 * KB,
  'resumable-glance.worker.js': 14 * KB,
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

test('nothing else is needed at run time', async () => {
  const { dependencies } = JSON.parse(await read('package.json'))
  assert.equal(dependencies, undefined)
})

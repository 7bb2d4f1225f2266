// Sizes are printed as the CLI and Horizon print them.

import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { test } from 'node:test'
import { formatSize } from '../src/core/size.js'

const VECTORS = JSON.parse(await readFile(new URL('../../tests/vectors/sizes.json', import.meta.url), 'utf8'))

for (const { bytes, text } of VECTORS) test(`${bytes} bytes are ${text}`, () => assert.equal(formatSize(bytes), text))

test('a rate need not be a whole number', () => {
  assert.equal(formatSize(1023.4), '1023 B')
  assert.equal(formatSize(1023.6), '1.0 KiB')
  assert.equal(formatSize(1048576.1), '1.0 MiB')
})

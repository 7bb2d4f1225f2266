// The packed package has every file that its package.json names.

import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { posix } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'

const cwd = fileURLToPath(new URL('..', import.meta.url))
const [{ files }] = JSON.parse(execFileSync('npm', ['pack', '--dry-run', '--json'], { cwd, encoding: 'utf8' }))
const packed = files.map(({ path }) => path)
const { main, module, types, unpkg, exports } = JSON.parse(await readFile(new URL('../package.json', import.meta.url)))

/** Every path in a value of `exports`, which may be nested conditions. */
const leaves = (value) => (typeof value === 'string' ? [value] : Object.values(value).flatMap(leaves))

for (const path of [main, module, types, unpkg, ...leaves(exports)].filter(Boolean))
  test(`${path} is in the package`, () => assert.ok(packed.includes(posix.normalize(path)), packed.join(' ')))

test('the package has its licence', () => assert.ok(packed.includes('LICENSE')))

// Texts for the user: numbers, and that every phase, failure and sentence of the client has one.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'

import { PHASES, SENTENCES } from '../../src/core/vocabulary.js'
import { SCRIPTS, page } from './page.js'

const VECTORS = new URL('../../../tests/vectors/sizes.json', import.meta.url)
const vectors = JSON.parse(readFileSync(VECTORS, 'utf8'))
const { messages } = page().plugin

test('sizes are those of the vectors', () => {
  assert.ok(vectors.length > 20)
  for (const { bytes, text } of vectors) assert.equal(messages.size(bytes), text)
})

test('times, percentages and the line of progress', () => {
  assert.equal(messages.remainingTime(0.2), '1 second left')
  assert.equal(messages.remainingTime(3600), '60 minutes left')
  assert.equal(messages.remainingTime(7200), '2 hours left')
  assert.equal(messages.percent(0.9999), 99)
  assert.equal(messages.percent(1), 100)
  const progress = { sent: 1024, size: 2048, rate: 512.4, eta: 2, phase: 'uploading' }
  assert.equal(messages.progressLine(progress), '1.0 KiB of 2.0 KiB · 512 B/s · 2 seconds left')
  assert.equal(messages.progressLine({ ...progress, eta: null }), '1.0 KiB of 2.0 KiB · 512 B/s')
})

test('the client’s sentences and units are marked for translation, and no others', () => {
  const script = readFileSync(new URL('messages.js', SCRIPTS), 'utf8')
  const marked = [...script.matchAll(/^ {2}gettext\('(.*)'\)$/gm)].map(([, text]) => text)
  const units = new Set(vectors.map(({ text }) => text.split(' ')[1]))
  assert.deepEqual(marked.sort(), [...Object.values(SENTENCES), ...units].sort())
})

test('every phase has a name', () => {
  assert.deepEqual(Object.keys(messages.PHASES), [...PHASES])
})

test('failures name a cause and a remedy', () => {
  const expired = messages.failure({ code: 'unauthenticated', message: 'cause' })
  assert.ok(expired && !expired.includes('cause'))
  assert.equal(messages.failure({ code: 'another', message: 'Cause.', advice: 'Do.' }), 'Cause. Do.')
  assert.equal(messages.failure({ message: 'Cause.' }), 'Cause.')
  const refused = messages.failure({ code: 'refused', message: 'Cause.' }, 'It is no qcow2.')
  assert.ok(refused.startsWith('It is no qcow2. ') && refused.length > 20)
  assert.ok(messages.failure({ code: 'another', message: '' }))
})

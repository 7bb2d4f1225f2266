// Texts for the user: numbers, and that every phase, failure and sentence of the client has one.

import assert from 'node:assert/strict'
import { readFileSync, readdirSync } from 'node:fs'
import { test } from 'node:test'

import { SCRIPTS, page } from './page.js'

const CLIENT = new URL('../../src/', import.meta.url)
const VECTORS = new URL('../../../tests/vectors/sizes.json', import.meta.url)
const { messages } = page().plugin

test('sizes are those of the vectors', () => {
  const vectors = JSON.parse(readFileSync(VECTORS, 'utf8'))
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

test('the client’s sentences are marked for translation', () => {
  const source = readdirSync(CLIENT, { recursive: true })
    .filter((name) => name.endsWith('.js'))
    .map((name) => readFileSync(new URL(name, CLIENT), 'utf8'))
    .join()
  const sentences = [...source.matchAll(/(?:message|trouble|why): '([^']+)'/g)].map(([, sentence]) => sentence)
  assert.ok(sentences.length > 5)
  const script = readFileSync(new URL('messages.js', SCRIPTS), 'utf8')
  const marked = [...script.matchAll(/^ {2}gettext\('(.*)'\)$/gm)].map(([, sentence]) => sentence)
  for (const sentence of sentences) assert.ok(marked.includes(sentence), sentence)
  const composed = ['The answer was lost.']
  for (const sentence of marked) assert.ok(source.includes(`'${sentence}'`) || composed.includes(sentence), sentence)
})

test('every phase has a name', () => {
  const types = readFileSync(new URL('resumable-glance.d.ts', CLIENT), 'utf8')
  const phases = [...types.match(/type Phase =([^]*?)\n\n/)[1].matchAll(/'([a-z ]+)'/g)].map(([, phase]) => phase)
  assert.ok(phases.length > 10)
  assert.deepEqual(Object.keys(messages.PHASES).sort(), phases.sort())
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

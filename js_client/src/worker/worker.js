// The worker's script: the engine with a browser's clock and transport.
// It is a worker because browsers slow down the timers of hidden pages, but not those of their workers.

import { clock } from '../core/clock.js'
import { Chunker } from './chunker.js'
import { createEngine } from './engine.js'
import { xhr } from './xhr.js'

const receive = createEngine((message) => postMessage(message), { clock, transport: xhr, open: Chunker.open })

addEventListener('message', ({ data }) => receive(data))
addEventListener('online', () => receive({ event: { type: 'wake' } }))

// The worker of a page: the engine with what a browser has. Timers of hidden pages are slowed down, those of workers not.

import { clock } from '../core/clock.js'
import { engine } from './engine.js'
import { Reader } from './chunker.js'
import { xhr } from './xhr.js'

const hear = engine((message) => postMessage(message), { clock, transport: xhr, open: Reader.open })

addEventListener('message', ({ data }) => hear(data))
addEventListener('online', () => hear({ event: { type: 'woken' } }))

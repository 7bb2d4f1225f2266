// A page without a browser: its worker runs in this process and talks to the model of the service.

import { createEngine } from '../src/worker/engine.js'
import { Chunker } from '../src/worker/chunker.js'
import { Upload } from '../src/page/upload.js'
import { memory } from '../src/page/storage.js'

// Tabs of one browser share locks. Pages here share a process, and end without releasing any.
if (globalThis.navigator) Object.defineProperty(globalThis.navigator, 'locks', { value: undefined })

/** `between` lets a test intervene in requests. Waits take no time. */
export class Page {
  constructor(model, { storage = memory() } = {}) {
    this.model = model
    this.storage = storage
    this.between = async (request, carry) => carry() // what a test does to requests
    this.waits = []
    this.partSize = 1000 // characters of an answer that arrive at a time
    this.terminate = []
    this.rate = Infinity // bytes a second, as the clock of the worker has it
    this.passed = 0 // seconds that took no time
  }

  upload(file, options = {}) {
    return new Upload(file, {
      endpoint: 'http://service',
      storage: this.storage,
      worker: () => this.worker(),
      image: { disk_format: 'raw' },
      identity: 'ada',
      ...options,
    })
  }

  /** Close the page: its workers end without notice. */
  close() {
    for (const terminate of this.terminate) terminate()
  }

  worker() {
    let alive = true
    const worker = { onmessage: null, terminate: () => void (alive = false) }
    this.terminate.push(worker.terminate)
    const receive = createEngine(
      (data) => queueMicrotask(() => alive && worker.onmessage({ data: structuredClone(data) })),
      {
        clock: this.clock(),
        open: Chunker.open,
        transport: (request) => (alive ? this.carry(request) : new Promise(() => {})),
      },
    )
    const copied = (message) => (message.open ? message : structuredClone(message)) // Node's copies of files have no date
    worker.postMessage = (message) => queueMicrotask(() => receive(copied(message)))
    return worker
  }

  clock() {
    const waits = this.waits
    return {
      now: () => performance.now() / 1000 + this.passed,
      random: () => 0.5,
      after: (seconds, call) => {
        if (seconds < 30) waits.push(seconds)
        const timer = setTimeout(call, seconds < 30 ? 1 : seconds * 1000)
        if (seconds >= 30) timer.unref()
        return () => clearTimeout(timer)
      },
    }
  }

  async carry(request) {
    const aborted = new Promise((resolve) => request.signal.addEventListener('abort', () => resolve({ status: 0 })))
    const carry = async () => {
      const bytes = request.body?.arrayBuffer ? Buffer.from(await request.body.arrayBuffer()) : Buffer.alloc(0)
      this.passed += bytes.length / this.rate
      request.onProgress?.(bytes.length)
      const came = this.model.handle(request, bytes)
      for (let at = 0; at < came.text.length; at += this.partSize) {
        await new Promise((resolve) => setTimeout(resolve)) // as over a network
        request.onText?.(came.text.slice(at, at + this.partSize))
      }
      return came
    }
    return Promise.race([aborted, this.between(request, carry)])
  }
}

// How fast it goes. Knows only what it is told.

const MEMORY = 5 // seconds after which what was measured counts a third
const SHORTEST = 0.25 // seconds between two looks

/** look(bytes, now) -> bytes a second, smoothed; 0 as long as nothing is known. */
export const meter = () => {
  let last = null
  let rate = 0
  return (bytes, now) => {
    last ??= { bytes, now }
    const passed = now - last.now
    if (passed < SHORTEST) return rate
    const weight = Math.exp(-passed / MEMORY)
    const measured = Math.max(0, bytes - last.bytes) / passed
    rate = rate ? rate * weight + measured * (1 - weight) : measured
    last = { bytes, now }
    return rate
  }
}

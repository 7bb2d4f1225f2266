// Exponentially smoothed transfer rate.

const TIME_CONSTANT = 5 // seconds
const MIN_INTERVAL = 0.25 // seconds between two measurements

/** Return a function (total bytes, time in seconds) -> bytes per second; 0 until two measurements exist. */
export const rateMeter = () => {
  /** @type {{ bytes: number, now: number } | null} */
  let last = null
  let rate = 0
  return (/** @type {number} */ bytes, /** @type {number} */ now) => {
    last ??= { bytes, now }
    const passed = now - last.now
    if (passed < MIN_INTERVAL) return rate
    const weight = Math.exp(-passed / TIME_CONSTANT)
    const measured = Math.max(0, bytes - last.bytes) / passed
    rate = rate ? rate * weight + measured * (1 - weight) : measured
    last = { bytes, now }
    return rate
  }
}

// Time and randomness, replaceable in tests.

/** @typedef {typeof clock} Clock */

export const clock = {
  /** Seconds since an arbitrary moment. */
  now: () => performance.now() / 1000,
  /**
   * Call `callback` once after `seconds`; the returned function cancels that.
   * @param {number} seconds
   * @param {() => void} callback
   */
  after: (seconds, callback) => {
    const timer = setTimeout(callback, seconds * 1000)
    return () => clearTimeout(timer)
  },
  /** A number from 0 to 1. */
  random: () => Math.random(),
}

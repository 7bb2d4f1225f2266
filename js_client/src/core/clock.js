// Time and chance, so that tests can have their own.

export const clock = {
  /** Seconds; only differences mean something. */
  now: () => performance.now() / 1000,
  /** Calls back after so many seconds; what it returns calls that off. */
  after: (seconds, call) => {
    const timer = setTimeout(call, seconds * 1000)
    return () => clearTimeout(timer)
  },
  /** From 0 to 1. */
  chance: () => Math.random(),
}

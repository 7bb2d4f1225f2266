// Byte ranges [start, stop], `stop` excluded. Lists of them are sorted, with gaps between the ranges.

/** @typedef {[start: number, stop: number]} Range */

/**
 * Sort ranges and join those that touch or overlap.
 * @param {readonly Range[]} ranges
 */
export const merge = (ranges) => {
  /** @type {Range[]} */
  const merged = []
  for (const [start, stop] of [...ranges].sort((a, b) => a[0] - b[0])) {
    const last = merged.at(-1)
    if (last && start <= last[1]) last[1] = Math.max(last[1], stop)
    else if (start < stop) merged.push([start, stop])
  }
  return merged
}

/**
 * The gaps that `ranges`, unsorted and possibly overlapping, leave in `size` bytes.
 * @param {number} size
 * @param {readonly Range[]} ranges
 */
export const missing = (size, ranges) => {
  /** @type {Range[]} */
  const gaps = []
  let at = 0
  for (const [start, stop] of [...merge(ranges), [size, size]]) {
    if (start > at) gaps.push([at, start])
    at = Math.max(at, stop)
  }
  return gaps
}

/** @param {readonly Range[]} ranges */
export const total = (ranges) => ranges.reduce((sum, [start, stop]) => sum + stop - start, 0)

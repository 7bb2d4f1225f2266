// Ranges of bytes: [start, stop], the second one not included. Lists of them are in order, with gaps between.

export const merge = (ranges) => {
  const merged = []
  for (const [start, stop] of [...ranges].sort((a, b) => a[0] - b[0])) {
    const last = merged.at(-1)
    if (last && start <= last[1]) last[1] = Math.max(last[1], stop)
    else if (start < stop) merged.push([start, stop])
  }
  return merged
}

/** The gaps that `ranges`, in any order and overlapping if they like, leave in `size` bytes. */
export const missing = (size, ranges) => {
  const gaps = []
  let at = 0
  for (const [start, stop] of [...merge(ranges), [size, size]]) {
    if (start > at) gaps.push([at, start])
    at = Math.max(at, stop)
  }
  return gaps
}

export const total = (ranges) => ranges.reduce((sum, [start, stop]) => sum + stop - start, 0)

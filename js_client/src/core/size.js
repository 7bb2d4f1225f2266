// Sizes as people read them. The CLI and Horizon print the same: tests/vectors/sizes.json.

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB']

/**
 * Return a number of bytes with a binary unit, for example "1.5 GiB".
 * @param {number} bytes
 */
export const formatSize = (bytes) => {
  let unit = 0
  let text = String(Math.round(bytes))
  // The rounded number decides, so that 1048575 bytes are 1.0 MiB and not 1024.0 KiB.
  while (Number(text) >= 1024 && unit < UNITS.length - 1) {
    unit += 1
    text = (bytes / 1024 ** unit).toFixed(1)
  }
  return `${text} ${UNITS[unit]}`
}

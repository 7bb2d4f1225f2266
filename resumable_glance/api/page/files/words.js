// Texts for durations, phases and progress.

import { formatSize } from './resumable-glance.js'

export const duration = (seconds) => {
  if (seconds < 1) return 'a moment'
  if (seconds < 60) return `${Math.ceil(seconds)} s`
  if (seconds < 3600) return `${Math.ceil(seconds / 60)} min`
  return `${Math.floor(seconds / 3600)} h ${Math.ceil((seconds % 3600) / 60)} min`
}

export const PHASES = {
  new: 'Ready',
  preparing: 'Preparing',
  hashing: 'Checking the file',
  uploading: 'Uploading',
  waiting: 'Waiting',
  paused: 'Paused',
  'handing over': 'Handing over to Glance',
  verifying: 'Comparing with Glance',
  cancelling: 'Cancelling',
  active: 'Active',
  failed: 'Failed',
  cancelled: 'Cancelled',
}

/** The text after the phase, below the progress bar. */
export const details = ({ phase, size, durable, rate, eta }) => {
  const safe = `${formatSize(durable)} of ${formatSize(size)} are safe`
  switch (phase) {
    case 'uploading':
      return [safe, rate && `${formatSize(rate)}/s`, eta !== null && `${duration(eta)} left`]
        .filter(Boolean)
        .join(' · ')
    case 'handing over':
    case 'verifying':
      return 'All bytes are safe. You may close this page.'
    case 'active':
      return 'The hashes of the image are those of your file.'
    case 'hashing':
    case 'waiting':
    case 'paused':
    case 'failed':
      return safe
    default:
      return ''
  }
}

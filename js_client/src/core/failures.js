// What answers mean: what has to be done about one, and what one that ends an upload says, as data.

/** `done`, `retry`, `gone` and so on. */
export const verdict = ({ status, reason }) => {
  if (status >= 200 && status < 300) return 'done'
  if (reason === 'upload-sealed') return 'ask'
  if (status === 401) return 'renew'
  if (!status || status >= 500 ? status !== 501 : [408, 425, 429].includes(status)) return 'retry'
  if (['chunk-digest-mismatch', 'superseded', 'disconnected', 'body-too-short'].includes(reason)) return 'retry'
  if (reason === 'chunk-too-large' || (status === 413 && !reason)) return 'shrink'
  return status === 404 || status === 410 ? 'gone' : 'give up'
}

const REASONS = {
  forbidden: 'forbidden',
  'over-quota': 'too-large',
  'upload-too-large': 'too-large',
  'unknown-upload': 'gone',
  'upload-cancelled': 'gone',
  'upload-expired': 'gone',
  'upload-lost': 'gone',
  'different-bytes': 'file-changed',
  'wrong-digest': 'file-changed',
  'wrong-total': 'file-changed',
  'chunk-digest-mismatch': 'damaged',
}

const codeOf = ({ status, reason }) =>
  REASONS[reason] ?? { 401: 'unauthenticated', 403: 'forbidden', 404: 'gone', 410: 'gone' }[status] ?? 'refused'

// What the service has against the bytes themselves: format-mismatch, unsafe-image, disk-too-large.
const OBJECTION = /^(format|unsafe|disk)-/

/** Why an upload has failed at the service, from its description: for its bytes, or for what became of them. */
export const undelivered = ({ handoff }) => {
  const { reason = null, detail = '' } = handoff?.trouble ?? {}
  return { code: OBJECTION.test(reason) ? 'refused' : 'undelivered', message: detail, reason }
}

/** A failure as data, from an answer; `code` where the answer alone does not tell. */
export const failure = (answer, code = codeOf(answer)) => ({
  code,
  message: answer.detail || (answer.status ? `The answer was ${answer.status}.` : 'There was no answer.'),
  status: answer.status ?? null,
  reason: answer.reason ?? null,
  requestId: answer.requestId ?? null,
})

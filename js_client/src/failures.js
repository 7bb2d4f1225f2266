// What an answer that ends an upload means, as data.

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

/** A failure as data, from an answer; `code` where the answer alone does not tell. */
export const failure = (answer, code = codeOf(answer)) => ({
  code,
  message: answer.detail || (answer.status ? `The answer was ${answer.status}.` : 'There was no answer.'),
  status: answer.status ?? null,
  reason: answer.reason ?? null,
  requestId: answer.requestId ?? null,
})

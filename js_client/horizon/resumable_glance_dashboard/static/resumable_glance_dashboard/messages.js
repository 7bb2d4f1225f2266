// Texts for the user, translated: sizes, times, phases and failures. Pure.
;(() => {
  'use strict'

  /** Bytes in binary units, as in the panels (sizes.py). */
  function size(bytes) {
    const [number, unit] = ResumableGlance.formatSize(bytes).split(' ')
    return `${number} ${gettext(unit)}`
  }

  /** Fill `%(name)s` in a translated pattern from `values`. */
  function format(pattern, values) {
    return interpolate(pattern, values, true)
  }

  /** The remaining time, rounded: an estimate of hours is not good to the second. */
  function remainingTime(seconds) {
    // Translation tools find patterns only as arguments of ngettext().
    if (seconds < 60) {
      const count = Math.max(1, Math.round(seconds))
      return format(ngettext('%(count)s second left', '%(count)s seconds left', count), { count })
    }
    if (seconds < 5400) {
      const count = Math.round(seconds / 60)
      return format(ngettext('%(count)s minute left', '%(count)s minutes left', count), { count })
    }
    const count = Math.round(seconds / 3600)
    return format(ngettext('%(count)s hour left', '%(count)s hours left', count), { count })
  }

  // By the client's phases.
  const PHASES = {
    new: gettext('Preparing'),
    preparing: gettext('Preparing'),
    hashing: gettext('Computing checksums'),
    uploading: gettext('Uploading'),
    waiting: gettext('Waiting'),
    paused: gettext('Paused'),
    'handing over': gettext('Saving to the image service'),
    verifying: gettext('Verifying'),
    cancelling: gettext('Cancelling'),
    active: gettext('Complete'),
    failed: gettext('Failed'),
    cancelled: gettext('Cancelled'),
  }

  // By the service's states that are not final, for uploads that this page does not run.
  const STATES = {
    receiving: gettext('Interrupted'),
    sealed: PHASES['handing over'],
    delivering: PHASES['handing over'],
    verifying: PHASES.verifying,
  }

  // By the client's error codes: what the user can do.
  const ADVICE = {
    unauthenticated: gettext('Your session has expired. Sign in again; the upload continues where it stopped.'),
    forbidden: gettext('You are not allowed to do this. Ask your cloud administrator.'),
    gone: gettext('The service no longer has this upload. Create the image again.'),
    'file-changed': gettext('This is not the file that the upload was started with. Choose that file, or cancel.'),
    'file-unreadable': gettext('The browser can no longer read the file. Choose it again; uploaded bytes are kept.'),
    refused: gettext('Cancel, correct the problem, and create the image again.'),
    'too-large': gettext('There is not enough space for this image. Ask your cloud administrator.'),
    damaged: gettext('The data is damaged on its way again and again. Try another network; uploaded bytes are kept.'),
    undelivered: gettext('The uploaded bytes are safe. Retry the upload in Image Uploads, or cancel it.'),
  }

  // The client's own sentences and units, for translation tools. All other sentences are the service's, and stay English.
  gettext('Somebody else has begun this upload.')
  gettext('This file is being uploaded already, here or in another tab.')
  gettext('The upload was cancelled.')
  gettext('The connection is lost.')
  gettext('The ticket or token is no longer good.')
  gettext('The service names an address that is not its own. Its operator has to correct public_endpoint.')
  gettext('The file has to be chosen again.')
  gettext('The browser may not read the file.')
  gettext('There was no answer.')
  gettext('The image is there, but it is not this file.')
  gettext('The worker could not be started.')
  gettext('B')
  gettext('KiB')
  gettext('MiB')
  gettext('GiB')
  gettext('TiB')

  function translate(sentence) {
    return sentence ? gettext(sentence) : ''
  }

  /** What happened and what to do. `error` is the client's UploadError, `lastError` the service's sentence, if any. */
  function failure(error, lastError) {
    if (error.code === 'unauthenticated') return ADVICE.unauthenticated // says both
    const cause = lastError || translate(error.message) || gettext('The upload failed.')
    const advice = ADVICE[error.code] || error.advice
    return advice ? `${cause} ${advice}` : cause
  }

  function part(sent, total) {
    return format(gettext('%(sent)s of %(size)s'), { sent: size(sent), size: size(total) })
  }

  /** One line: how much, how fast, how long. `progress` is the client's. */
  function progressLine(progress) {
    const texts = [part(progress.sent, progress.size)]
    if (progress.rate > 0) texts.push(format(gettext('%(amount)s/s'), { amount: size(progress.rate) }))
    if (progress.phase === 'uploading' && Number.isFinite(progress.eta)) texts.push(remainingTime(progress.eta))
    return texts.join(' · ')
  }

  /** A fraction as a whole percentage; 100 only if all is done. */
  function percent(fraction) {
    return fraction >= 1 ? 100 : Math.min(99, Math.floor(fraction * 100))
  }

  horizon.resumableGlance = {
    messages: {
      PHASES,
      STATES,
      failure,
      format,
      part,
      percent,
      progressLine,
      remainingTime,
      size,
      translate,
    },
  }
})()

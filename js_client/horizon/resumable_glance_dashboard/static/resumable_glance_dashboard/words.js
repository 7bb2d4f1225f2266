/* What people read: sizes, times, phases and failures, in their language. No network. */
(function () {
  'use strict';

  var UNITS = [gettext('bytes'), gettext('KB'), gettext('MB'), gettext('GB'), gettext('TB')];

  function bytes(count) {
    var unit = 0;
    while (count >= 1024 && unit < UNITS.length - 1) {
      count /= 1024;
      unit += 1;
    }
    return (unit ? count.toFixed(1) : String(Math.round(count))) + ' ' + UNITS[unit];
  }

  function words(pattern, values) {
    return interpolate(pattern, values, true);
  }

  /* How long it will take: rounded, for nobody believes the seconds of an hour. */
  function duration(seconds) {
    // The patterns stand in ngettext itself, where translators' tools look for them.
    var count;
    if (seconds < 60) {
      count = Math.max(1, Math.round(seconds));
      return words(ngettext('%(count)s second left', '%(count)s seconds left', count), { count: count });
    }
    if (seconds < 5400) {
      count = Math.round(seconds / 60);
      return words(ngettext('%(count)s minute left', '%(count)s minutes left', count), { count: count });
    }
    count = Math.round(seconds / 3600);
    return words(ngettext('%(count)s hour left', '%(count)s hours left', count), { count: count });
  }

  var PHASES = {
    'new': gettext('Preparing'),
    preparing: gettext('Preparing'),
    hashing: gettext('Computing checksums'),
    uploading: gettext('Uploading'),
    paused: gettext('Paused'),
    waiting: gettext('Waiting to go on'),
    verifying: gettext('Verifying'),
    'handing over': gettext('Going into the image service'),
    cancelling: gettext('Cancelling'),
    active: gettext('Complete'),
    failed: gettext('Failed'),
    cancelled: gettext('Cancelled')
  };

  /* The service's states, for uploads that no page has in hand. */
  var STATES = {
    receiving: gettext('Interrupted'),
    sealed: PHASES['handing over'],
    delivering: PHASES['handing over'],
    verifying: PHASES.verifying,
    active: PHASES.active,
    failed: PHASES.failed
  };

  function phase(name) {
    return PHASES[name];
  }

  /* What happened, and what a person can do. `error` is the client's: code, message, advice; `why` the service's. */
  var ADVICE = {
    unauthenticated: gettext('Your session has ended. Sign in again; the upload goes on where it is.'),
    forbidden: gettext('You may not do this. Ask whoever runs this cloud.'),
    gone: gettext('The service has this upload no more. Create the image anew.'),
    'file-changed': gettext('This is not the file that the upload was begun with. Choose that one, or cancel.'),
    'file-unreadable': gettext('The browser cannot read the file any more. Choose it again; what was sent is kept.'),
    refused: gettext('Cancel, mend what is said to be wrong, and create the image anew.'),
    'too-large': gettext('There is no room for this image. Ask whoever runs this cloud.'),
    damaged: gettext('The bytes arrive damaged again and again. Try another network; what was sent is kept.'),
    undelivered: gettext('The bytes are safe, but the image could not be made. Cancel, and create it anew.')
  };

  /* What the client says in its own words, so that translators see it. All else that it says is the service's. */
  gettext('The connection is lost.');
  gettext('The answer was lost.');
  gettext('There was no answer.');
  gettext('The ticket or token is no longer good.');
  gettext('Another tab uploads this file.');
  gettext('The file has to be chosen again.');
  gettext('The browser may not read the file.');
  gettext('The image is there, but it is not this file.');
  gettext('The worker could not be started.');
  gettext('The upload was cancelled.');

  function told(sentence) {
    return sentence ? gettext(sentence) : '';
  }

  function failure(error, why) {
    if (error && error.code === 'unauthenticated') {
      return ADVICE.unauthenticated; // says what happened, too; Horizon's own words are "not logged in"
    }
    var happened = why || (error && told(error.message)) || gettext('The upload failed.');
    var advice = error && (ADVICE[error.code] || error.advice);
    return advice ? happened + ' ' + advice : happened;
  }

  /* One line: how much, how fast, how long still. */
  function amount(progress) {
    var parts = [words(gettext('%(sent)s of %(size)s'), { sent: bytes(progress.sent), size: bytes(progress.size) })];
    if (progress.rate > 0) {
      parts.push(words(gettext('%(amount)s/s'), { amount: bytes(progress.rate) }));
    }
    if (progress.eta !== null && isFinite(progress.eta) && progress.phase === 'uploading') {
      parts.push(duration(progress.eta));
    }
    return parts.join(' · ');
  }

  function percent(fraction) {
    return (fraction >= 1 ? 100 : Math.min(99, Math.floor(fraction * 100))) + ' %';
  }

  /* A toast. They are Angular's, which draws nothing before it is told that something has changed. */
  function toast(kind, text) {
    horizon.toast.add(kind, text);
    angular.element(document.body).injector().get('$rootScope').$applyAsync();
  }

  horizon.resumableGlance = {
    toast: toast,
    words: {
      amount: amount, bytes: bytes, duration: duration, failure: failure, percent: percent, phase: phase,
      say: words, states: STATES, told: told
    }
  };
})();

/* How far an upload is, and what can be done about it: the same in both dialogs and in the header. */
(function () {
  'use strict';

  var rg = horizon.resumableGlance;
  var LOOKS = { active: 'progress-bar-success', failed: 'progress-bar-danger', paused: 'progress-bar-warning' };
  var MOVING = ['preparing', 'hashing', 'uploading', 'handing over', 'verifying', 'cancelling'];
  var PAUSABLE = ['new', 'preparing', 'hashing', 'uploading', 'waiting'];
  var OVER = ['active', 'cancelled'];
  // Failures that are still there after another try.
  var LASTING = ['unauthenticated', 'forbidden', 'gone', 'refused', 'too-large', 'undelivered'];

  function element(tag, classes, text) {
    var made = document.createElement(tag);
    made.className = classes || '';
    if (text) {
      made.textContent = text;
    }
    return made;
  }

  function button(text, icon, act, classes) {
    var made = element('button', 'btn btn-sm ' + (classes || 'btn-default'));
    made.type = 'button';
    made.append(element('span', 'fa fa-' + icon), ' ' + text);
    made.firstChild.setAttribute('aria-hidden', 'true');
    made.addEventListener('click', function (event) {
      event.preventDefault();
      event.stopPropagation(); // what is around it may be a link or a menu
      act();
    });
    return made;
  }

  function setHidden(node, hidden) {
    node.classList.toggle('hidden', hidden);
  }

  /* The meter of `entry`, one of rg.uploads; `heading` above it. With `onBackground` there is a button for that. */
  function meter(entry, heading, onBackground) {
    var upload = entry.upload;
    var title = rg.words.say(gettext('Upload of %(name)s'), { name: entry.name });
    var root = element('div', 'rg-meter');
    root.setAttribute('role', 'group');
    root.setAttribute('aria-label', title);
    root.tabIndex = -1; // so that a dialog can give it the focus

    var bar = element('div', 'progress-bar');
    bar.setAttribute('role', 'progressbar');
    bar.setAttribute('aria-label', title);
    bar.setAttribute('aria-valuemin', '0');
    bar.setAttribute('aria-valuemax', '100');
    var frame = element('div', 'progress');
    frame.append(bar);

    var phase = element('span', 'rg-meter-phase');
    phase.setAttribute('role', 'status'); // said when it changes; the numbers are not
    var amount = element('span', 'rg-meter-amount');
    var share = element('span', 'rg-meter-share');
    var line = element('div', 'rg-meter-line');
    line.append(phase, amount, share);

    var trouble = element('p', 'rg-meter-trouble');
    trouble.setAttribute('role', 'alert');

    var pause = button(gettext('Pause'), 'pause', function () { upload.pause(); });
    var resume = button(gettext('Resume'), 'play', function () { upload.start(); }, 'btn-primary');
    var cancel = button(gettext('Cancel Upload'), 'trash', function () { rg.uploads.cancel(entry.id); });
    var background = button(gettext('Continue in Background'), 'arrow-up', function () { onBackground(); });
    var login = element('a', 'btn btn-sm btn-primary', gettext('Sign In'));
    login.href = WEBROOT + 'auth/login/?next=' + encodeURIComponent(location.pathname);
    var buttons = element('div', 'rg-meter-buttons');
    buttons.append(pause, resume, login, cancel, background);

    root.append(element('div', 'rg-meter-heading', heading), frame, line, trouble, buttons);

    function draw() {
      var progress = upload.progress;
      var now = upload.phase;
      var error = now === 'failed' ? upload.error : null;
      var percent = rg.words.percent(progress.fraction);
      bar.className = 'progress-bar ' + (LOOKS[now] || '') +
        (MOVING.indexOf(now) < 0 ? '' : ' progress-bar-striped active');
      bar.style.width = percent.replace(' ', '');
      bar.setAttribute('aria-valuenow', parseInt(percent, 10));
      if (phase.textContent !== rg.words.phase(now)) {
        phase.textContent = rg.words.phase(now);
      }
      amount.textContent = progress.size ? rg.words.amount(progress) : '';
      share.textContent = percent;
      var why = error ? rg.words.failure(error, entry.why) : now === 'waiting' ? rg.words.told(progress.trouble) : '';
      if (trouble.textContent !== why) {
        trouble.textContent = why;
      }
      trouble.className = 'rg-meter-trouble ' + (error ? 'text-danger' : 'text-warning');
      setHidden(trouble, !why);
      setHidden(pause, PAUSABLE.indexOf(now) < 0);
      setHidden(login, !error || error.code !== 'unauthenticated');
      setHidden(resume, now !== 'paused' && !(error && LASTING.indexOf(error.code) < 0));
      setHidden(cancel, OVER.indexOf(now) >= 0 || now === 'cancelling');
      setHidden(background, !onBackground || now === 'failed' || OVER.indexOf(now) >= 0);
      if (buttons.contains(document.activeElement) && document.activeElement.classList.contains('hidden')) {
        // Who pressed Pause by the keyboard can press Resume next.
        (buttons.querySelector('.btn:not(.hidden)') || root).focus();
      }
    }

    upload.addEventListener('progress', draw);
    draw();
    return root;
  }

  rg.meter = meter;
  rg.dom = { button: button, element: element, setHidden: setHidden };
})();

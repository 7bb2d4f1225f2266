/* The header: what is being uploaded, and what could go on. It is there on every page, and only if there is something. */
(function () {
  'use strict';

  var rg = horizon.resumableGlance;
  var element = rg.dom.element;
  var REFRESH = 5000; // milliseconds, while the list is open or something is on its way without us
  var root, opener, label, list;
  var waiting = []; // uploads of other pages, or of none
  var drawn = new Map(); // id -> what is in the list
  var timer = null;

  function isOpen() {
    return opener.getAttribute('aria-expanded') === 'true';
  }

  function open(wanted) {
    opener.setAttribute('aria-expanded', String(wanted));
    rg.dom.setHidden(list, !wanted);
    if (wanted) {
      refresh();
    }
  }

  function failed(error) {
    rg.toast('danger', rg.words.failure(error));
  }

  function resume(item, file) {
    return rg.uploads.resume(item, file).then(function (entry) {
      entry.upload.addEventListener('end', function () {
        if (entry.upload.phase === 'active') {
          rg.toast('success', rg.words.say(gettext('Image %(name)s is complete.'), { name: entry.name }));
        }
      });
      waiting = waiting.filter(function (each) { return each.id !== item.id; });
      draw();
    }).catch(failed);
  }

  function cancel(item) {
    rg.uploads.cancel(item.id).then(refresh, failed);
  }

  /* One that no page of this browser has in hand. */
  function idle(item) {
    var made = element('div', 'rg-meter');
    var share = item.size ? item.received / item.size : 0;
    var line = element('div', 'rg-meter-line');
    line.append(
      element('span', 'rg-meter-phase', rg.words.states[item.state] || rg.words.phase('handing over')),
      element('span', 'rg-meter-amount',
        rg.words.say(gettext('%(sent)s of %(size)s'),
          { sent: rg.words.bytes(item.received), size: rg.words.bytes(item.size) }))
    );
    var bar = element('div', 'progress-bar' + (item.state === 'receiving' ? ' progress-bar-warning' : ''));
    bar.style.width = Math.floor(100 * share) + '%';
    var frame = element('div', 'progress');
    frame.append(bar);
    var buttons = element('div', 'rg-meter-buttons');
    if (item.state === 'receiving') {
      buttons.append(item.record && item.record.handle ? resumer(item) : chooser(item));
    }
    buttons.append(rg.dom.button(gettext('Cancel Upload'), 'trash', function () { cancel(item); }));
    made.append(element('div', 'rg-meter-heading', item.name || item.id), frame, line);
    if (item.trouble) {
      made.append(element('p', 'rg-meter-trouble text-warning', item.trouble));
    }
    made.append(buttons);
    return made;
  }

  function resumer(item) {
    return rg.dom.button(gettext('Resume'), 'play', function () { resume(item); }, 'btn-primary');
  }

  function chooser(item) {
    var input = element('input', 'hidden');
    input.type = 'file';
    input.setAttribute('data-resumable-glance-again', item.id);
    input.addEventListener('change', function () { resume(item, input.files[0]); });
    input.addEventListener('click', function (event) { event.stopPropagation(); });
    var made = element('span');
    made.append(
      rg.dom.button(gettext('Choose the File to Resume'), 'play', function () { input.click(); }, 'btn-primary'),
      input
    );
    return made;
  }

  function put(id, kind, make) {
    var shown = drawn.get(id);
    if (!shown || shown.kind !== kind) {
      var node = element('div', 'rg-indicator-item');
      node.dataset.upload = id;
      node.append(make());
      if (shown) {
        shown.node.replaceWith(node);
      } else {
        list.insertBefore(node, list.lastElementChild);
      }
      drawn.set(id, { node: node, kind: kind });
    }
  }

  function draw() {
    if (!root) {
      return;
    }
    var present = new Set();
    var sent = 0;
    var size = 0;
    rg.uploads.running.forEach(function (entry) {
      present.add(entry.id);
      put(entry.id, entry.upload, function () { return rg.meter(entry, entry.name); });
      sent += entry.upload.progress.fraction * entry.upload.progress.size;
      size += entry.upload.progress.size;
    });
    waiting.forEach(function (item) {
      if (!present.has(item.id)) {
        present.add(item.id);
        put(item.id, [item.state, item.received, item.trouble].join(), function () { return idle(item); });
      }
    });
    drawn.forEach(function (shown, id) {
      if (!present.has(id)) {
        shown.node.remove();
        drawn.delete(id);
      }
    });
    var interrupted = waiting.filter(function (item) {
      return item.state === 'receiving' && !rg.uploads.running.has(item.id);
    }).length;
    var words = [];
    if (rg.uploads.running.size) {
      words.push(rg.words.say(
        ngettext('%(count)s upload, %(share)s', '%(count)s uploads, %(share)s', rg.uploads.running.size),
        { count: rg.uploads.running.size, share: rg.words.percent(size ? sent / size : 0) }));
    }
    if (interrupted) {
      words.push(rg.words.say(
        ngettext('%(count)s upload to resume', '%(count)s uploads to resume', interrupted), { count: interrupted }));
    }
    if (!words.length && present.size) {
      words.push(rg.words.say(
        ngettext('%(count)s upload', '%(count)s uploads', present.size), { count: present.size }));
    }
    label.textContent = words.join(' · ');
    root.hidden = !present.size;
    if (!present.size) {
      open(false);
    }
  }

  /* Ask Horizon for what this page does not know. Never often: each time counts as the person being there. */
  function refresh() {
    clearTimeout(timer);
    return rg.uploads.others().then(function (items) {
      waiting = items;
      rg.uploads.vouch(items);
      draw();
      if (isOpen() && items.length) {
        timer = setTimeout(refresh, REFRESH);
      }
    }).catch(function () {}); // the session may have ended; then there is nothing to show
  }

  /* What the last page could not finish goes on, if the browser still may read the file. */
  function takeUp() {
    waiting.forEach(function (item) {
      if (item.state === 'receiving') {
        rg.uploads.ready(item).then(function (ready) {
          return ready && resume(item);
        });
      }
    });
  }

  function build(found) {
    root = found;
    opener = element('button', 'btn btn-link rg-indicator-opener');
    opener.type = 'button';
    opener.setAttribute('aria-expanded', 'false');
    opener.setAttribute('aria-controls', 'resumable-glance-list');
    label = element('span', 'rg-indicator-label');
    opener.append(element('span', 'fa fa-cloud-upload'), ' ', label, ' ', element('span', 'fa fa-caret-down'));
    opener.addEventListener('click', function (event) {
      event.preventDefault();
      event.stopPropagation();
      open(!isOpen());
    });
    list = element('div', 'dropdown-menu dropdown-menu-right rg-indicator-list hidden');
    list.id = 'resumable-glance-list';
    list.setAttribute('role', 'region');
    list.setAttribute('aria-label', gettext('Image uploads'));
    list.addEventListener('click', function (event) { event.stopPropagation(); });
    var all = element('button', 'btn btn-link rg-indicator-all', gettext('All image uploads'));
    all.type = 'button';
    all.addEventListener('click', function () { location.href = WEBROOT + 'project/image_uploads/'; });
    list.append(all);
    root.append(opener, list);
    root.addEventListener('keydown', function (event) {
      if (event.key === 'Escape' && isOpen()) {
        open(false);
        opener.focus();
      }
    });
    refresh().then(function () {
      if (root.dataset.autoResume === 'true') {
        takeUp();
      }
    });
  }

  /* Open the list at an upload. */
  function show(id) {
    open(true);
    var shown = drawn.get(id);
    if (shown) {
      shown.node.scrollIntoView({ block: 'nearest' });
      var first = shown.node.querySelector('button:not(.hidden)');
      if (first) {
        first.focus();
      }
    }
  }

  document.addEventListener('click', function (event) {
    var link = event.target.closest('a.resumable-glance-resume'); // in the table of uploads
    if (root && link) {
      event.preventDefault();
      show(link.getAttribute('href').replace('#resume-upload=', ''));
    } else if (root && isOpen()) {
      open(false);
    }
  });

  horizon.addInitFunction(function () {
    rg.uploads.listen(draw);
    // Horizon fetches the header's extensible part after the page.
    var header = document.querySelector('.navbar');
    if (!header) {
      return; // the login page
    }
    var look = function () {
      var found = document.getElementById('resumable-glance-indicator');
      if (found && found !== root) {
        drawn.clear();
        build(found);
      }
    };
    new MutationObserver(look).observe(header, { childList: true, subtree: true });
    look();
  });
})();

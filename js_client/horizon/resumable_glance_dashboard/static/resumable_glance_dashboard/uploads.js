/* The uploads of this page, and those that other pages began. Speaks to Horizon (with the session) and, through the
 * client, to the service (with tickets); never through Angular's $http, to which any 401 means that the person has to
 * be logged out. */
(function () {
  'use strict';

  var rg = horizon.resumableGlance;
  var FINAL = ['active', 'failed', 'cancelled', 'expired', 'joined'];
  var running = new Map(); // id -> { id, name, upload, why, kept: whether the next page can read the file, too }
  var listeners = new Set();
  var vouched = new Set(); // ids
  var handles = new Map(); // what a file is told by -> its FileSystemFileHandle

  // Horizon

  function csrf() {
    var found = document.cookie.match(/(?:^|; )csrftoken=([^;]*)/);
    return found ? decodeURIComponent(found[1]) : '';
  }

  async function ask(method, path) {
    var answer = await fetch(WEBROOT + 'api/resumable_glance/uploads/' + path, {
      method: method,
      credentials: 'same-origin',
      redirect: 'error',
      headers: { 'X-Requested-With': 'XMLHttpRequest', 'X-CSRFToken': csrf() }
    });
    var document_ = answer.status === 204 ? null : await answer.json().catch(function () { return null; });
    if (!answer.ok) {
      throw Object.assign(
        new Error(typeof document_ === 'string' && document_ || gettext('The dashboard does not answer.')),
        { status: answer.status }
      );
    }
    return document_;
  }

  function idOf(url) {
    return url.slice(url.lastIndexOf('/') + 1);
  }

  async function renewTicket(url) {
    return { value: (await ask('POST', idOf(url) + '/ticket/')).ticket };
  }

  // Files

  function told(file) {
    return [file.name, file.size, file.lastModified].join(' ');
  }

  /* Let the person choose through a picker whose result the browser can keep, where there is one. */
  async function pick(input) {
    var chosen;
    try {
      chosen = await window.showOpenFilePicker({ multiple: false });
    } catch (error) {
      if (error.name !== 'AbortError') {
        input.dataset.resumableGlancePlain = 'true'; // the picker does not work here; the next click is a plain one
      }
      return;
    }
    var file = await chosen[0].getFile();
    handles.set(told(file), chosen[0]);
    var carrier = new DataTransfer();
    carrier.items.add(file);
    input.files = carrier.files;
    input.dispatchEvent(new Event('change', { bubbles: true }));
  }

  function here() {
    return !!document.getElementById('resumable-glance-indicator');
  }

  document.addEventListener('click', function (event) {
    var input = event.target;
    if (input instanceof HTMLInputElement && input.type === 'file' && input.name === 'image_file' &&
        window.showOpenFilePicker && here() && !input.disabled && !input.dataset.resumableGlancePlain) {
      event.preventDefault();
      pick(input);
    }
  });

  // Uploads

  function options() {
    return {
      renewTicket: renewTicket,
      worker: horizon.conf.static_url + 'resumable_glance_dashboard/client/resumable-glance.worker.js'
    };
  }

  function tell() {
    listeners.forEach(function (listener) { listener(); });
  }

  function follow(id, name, upload, kept) {
    var entry = { id: id, name: name, upload: upload, why: '', kept: kept };
    running.set(id, entry);
    upload.addEventListener('progress', tell);
    upload.addEventListener('end', function () {
      if (upload.phase === 'failed') {
        why(entry);
      } else {
        running.delete(id);
      }
      tell();
    });
    upload.start();
    tell();
    return entry;
  }

  /* What the service has against an upload: it says so in its description only. */
  function why(entry) {
    ask('GET', entry.id + '/').then(function (item) {
      entry.why = item.trouble;
      entry.upload.dispatchEvent(new Event('progress')); // whoever draws it draws it again
    }).catch(function () {}); // what the client said has to do
  }

  /* Send a file as the upload that Horizon was granted. */
  function begin(file, grant, name) {
    var handle = handles.get(told(file));
    var upload = new ResumableGlance.Upload(handle || file, Object.assign(options(), {
      endpoint: grant.endpoint, url: grant.url, ticket: grant.ticket, image: { name: name }, guard: !handle
    }));
    return follow(grant.id, name, upload, !!handle);
  }

  /* Uploads that are not at their end and that this page has not in hand. `record` is what this browser remembers. */
  async function others() {
    var answer = await ask('GET', '');
    var records = await ResumableGlance.Upload.findPrevious(options());
    return answer.items
      .filter(function (item) { return FINAL.indexOf(item.state) < 0 && !running.has(item.id); })
      .map(function (item) {
        var record = records.find(function (each) { return idOf(each.url) === item.id; });
        return Object.assign({}, item, { endpoint: answer.endpoint, record: record || null });
      });
  }

  /* The session that began an upload may have ended, and the service wait for somebody who still may: this one. */
  function vouch(items) {
    items.forEach(function (item) {
      if (item.state !== 'receiving' && !vouched.has(item.id)) {
        vouched.add(item.id);
        ask('POST', item.id + '/ticket/').catch(function () {}); // the list says what it waits for
      }
    });
  }

  /* Whether it can go on without anybody touching anything. */
  async function ready(item) {
    var handle = item.record && item.record.handle;
    return !!handle && (!handle.queryPermission || await handle.queryPermission({ mode: 'read' }) === 'granted');
  }

  /* Go on with one of the others; with `file` if the person had to choose it again. */
  async function resume(item, file) {
    if (running.has(item.id)) {
      return running.get(item.id);
    }
    var kept = !file && !!(item.record && item.record.handle);
    var upload;
    if (item.record) {
      upload = await item.record.reopen(file, { guard: !kept });
    } else {
      if (file.size !== item.size) {
        throw Object.assign(new Error(rg.words.say(gettext('%(name)s has another size.'), { name: file.name })),
          { code: 'file-changed' });
      }
      var grant = await ask('POST', item.id + '/ticket/');
      return begin(file, grant, item.name);
    }
    return running.get(item.id) || follow(item.id, item.name, upload, kept);
  }

  /* End an upload: neither bytes nor image are left. */
  async function cancel(id) {
    var entry = running.get(id);
    if (entry) {
      entry.upload.cancel(); // works after a failure, too
      return;
    }
    await ask('DELETE', id + '/');
    var records = await ResumableGlance.Upload.findPrevious(options());
    records.filter(function (each) { return idOf(each.url) === id; }).forEach(function (each) { each.forget(); });
    tell();
  }

  rg.uploads = {
    begin: begin,
    cancel: cancel,
    here: here,
    others: others,
    ready: ready,
    resume: resume,
    running: running,
    vouch: vouch,
    listen: function (listener) {
      listeners.add(listener);
      return function () { listeners.delete(listener); };
    }
  };
})();

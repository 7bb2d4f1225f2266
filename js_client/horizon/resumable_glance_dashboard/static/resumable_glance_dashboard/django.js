/* The Django form: Horizon's modal of a running upload, with our meter in it. What is not for us goes Horizon's way. */
(function () {
  'use strict';

  var rg = horizon.resumableGlance;
  var FIELD = 'resumable_glance_size';
  var horizons = { fileUpload: horizon.modals.fileUpload, prepareFileUpload: horizon.modals.prepareFileUpload };
  var name = '';

  horizon.modals.prepareFileUpload = function ($form) {
    var file = horizons.prepareFileUpload.call(this, $form);
    $form.find('input[name="' + FIELD + '"]').remove();
    if (file) {
      name = $form.find('[name="name"]').val() || file.name;
      $('<input type="hidden">').attr('name', FIELD).val(file.size).appendTo($form);
    }
    return file;
  };

  function clear() {
    $('#modal_wrapper .modal').remove();
    $('.modal-backdrop').remove();
    $('body').removeClass('modal-open').css('padding-right', '');
    $('.ajax-modal, .dropdown-toggle').removeAttr('disabled').prop('disabled', false);
  }

  horizon.modals.fileUpload = function (url, file, jqXHR) {
    var ticket = /^Bearer (.+)$/.exec(jqXHR.getResponseHeader('X-Auth-Token') || '');
    if (!ticket) {
      return horizons.fileUpload.apply(this, arguments);
    }
    var done = $.Deferred();
    var at = url.lastIndexOf('/v1/uploads/');
    var grant = {
      id: url.slice(url.lastIndexOf('/') + 1), endpoint: url.slice(0, at), url: url, ticket: ticket[1]
    };
    var entry = rg.uploads.begin(file, grant, name);

    horizon.modals.progress_bar(gettext('Uploading image'));
    var $modal = horizon.modals.bar;
    $modal.addClass('rg-modal').find('.modal-dialog').removeClass('modal-sm');
    $modal.find('.modal-progress-loader').hide()
      .after(rg.meter(entry, file.name, background)).after($('<h4 class="rg-modal-title">').text(
        rg.words.say(gettext('Uploading %(name)s'), { name: name })));

    function background() {
      if (entry.kept) {
        done.resolve(); // the next page takes it up
      } else {
        clear();
        rg.toast('info', gettext('The upload goes on while this page is open.'));
      }
    }

    entry.upload.addEventListener('end', function () {
      if (entry.upload.phase === 'active') {
        rg.toast('success', rg.words.say(gettext('Image %(name)s is complete.'), { name: entry.name }));
        if ($modal.is(':visible')) {
          done.resolve(); // Horizon opens the list of images
        }
      } else if (entry.upload.phase === 'cancelled') {
        clear();
        rg.toast('info', gettext('The upload was cancelled, and its image removed.'));
      }
      // A failure stays in the meter, with what can be done about it.
    });
    return done.promise();
  };
})();

// The Django form: Horizon's modal of a running upload, with the progress widget. Uploads without a ticket are
// Horizon's own.
;(() => {
  'use strict'

  const { dom, messages, progressWidget, uploads } = horizon.resumableGlance
  const SIZE_FIELD = 'resumable_glance_size'
  const original = { fileUpload: horizon.modals.fileUpload, prepareFileUpload: horizon.modals.prepareFileUpload }
  let name = '' // of the image; fileUpload() does not get it

  horizon.modals.prepareFileUpload = function ($form) {
    const file = original.prepareFileUpload.call(this, $form)
    $form.find(`input[name="${SIZE_FIELD}"]`).remove()
    if (file) {
      name = $form.find('[name="name"]').val() || file.name
      $('<input type="hidden">').attr('name', SIZE_FIELD).val(file.size).appendTo($form)
    }
    return file
  }

  horizon.modals.fileUpload = function (url, file, jqXHR) {
    const ticket = /^Bearer (.+)$/.exec(jqXHR.getResponseHeader('X-Auth-Token') || '')
    if (!ticket) return original.fileUpload.apply(this, arguments)
    return send(file, grantOf(url, ticket[1]))
  }

  function grantOf(url, ticket) {
    const [endpoint, id] = url.split('/v1/uploads/')
    return { id, endpoint, url, ticket }
  }

  /** Send the file; the promise makes Horizon open the list of images. */
  function send(file, grant) {
    const done = $.Deferred()
    const entry = uploads.start(file, grant, name)
    const $modal = openModal(progressWidget(entry, file.name, continueInBackground))

    function continueInBackground() {
      if (entry.stored) {
        done.resolve() // the list of images resumes the upload
      } else {
        closeModals()
        dom.toast('info', gettext('The upload continues while this page is open.'))
      }
    }

    entry.upload.addEventListener('end', () => {
      if (entry.upload.phase === 'active') {
        dom.toast('success', messages.format(gettext('Image %(name)s is complete.'), { name: entry.name }))
        if ($modal.is(':visible')) done.resolve()
      } else if (entry.upload.phase === 'cancelled') {
        closeModals()
        dom.toast('info', gettext('The upload was cancelled, and its image removed.'))
      }
      // A failure stays in the widget, with what the user can do.
    })
    return done.promise()
  }

  function openModal(widget) {
    horizon.modals.progress_bar(gettext('Uploading image'))
    const $modal = horizon.modals.bar
    const title = messages.format(gettext('Uploading %(name)s'), { name })
    $modal.addClass('rg-modal').find('.modal-dialog').removeClass('modal-sm')
    $modal.find('.modal-progress-loader').hide().after($('<h4 class="rg-modal-title">').text(title), widget)
    return $modal
  }

  function closeModals() {
    $('#modal_wrapper .modal').remove()
    $('.modal-backdrop').remove()
    $('body').removeClass('modal-open').css('padding-right', '')
    $('.ajax-modal, .dropdown-toggle').removeAttr('disabled').prop('disabled', false)
  }
})()

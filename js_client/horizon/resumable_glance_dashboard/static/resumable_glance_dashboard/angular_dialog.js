// The Angular dialog: createImage() sends the file as a resumable upload, and the progress widget takes the place of the
// file button.
;(() => {
  'use strict'

  const { dom, progressWidget, uploads } = horizon.resumableGlance
  const SIZE_HEADER = 'X-Resumable-Glance-Size'

  angular.module('horizon.resumable_glance', []).config(config)

  config.$inject = ['$provide']

  function config($provide) {
    $provide.decorator('horizon.app.core.openstack-service-api.glance', glance)
  }

  glance.$inject = [
    '$delegate',
    '$injector',
    '$q',
    '$rootScope',
    'horizon.framework.util.http.service',
    'horizon.framework.widgets.toast.service',
  ]

  function glance($delegate, $injector, $q, $rootScope, http, toasts) {
    const original = $delegate.createImage
    $delegate.createImage = createImage
    return $delegate

    function createImage(image, onProgress) {
      const file = image.data
      if (image.source_type !== 'file-direct' || !(file instanceof File)) return original(image, onProgress)
      const metadata = { ...image, data: file.name }
      if (metadata.architecture === '') delete metadata.architecture
      const headers = { [SIZE_HEADER]: String(file.size) }
      return http.put('/api/glance/images/', metadata, { headers }).then((response) => {
        if (response.data.resumable_upload) return send(file, image.name, response)
        return 'upload_url' in response.data ? sendToGlance(file, response, onProgress) : response
      }, reject)
    }

    /** The dialog shows `data`. */
    function reject(error) {
      const sentence = typeof error.data === 'string' && error.data
      return $q.reject({ data: sentence || gettext('Unable to create the image.') })
    }

    /** Send the file. The promise is resolved with Horizon's own response when the image is active. */
    function send(file, name, response) {
      const done = $q.defer()
      const entry = uploads.start(file, response.data.resumable_upload, name)
      const widget = progressWidget(entry, file.name, () => closeDialog(response.data.id))
      const restoreDialog = putIntoDialog(widget)
      explainClosing(entry.id)
      entry.upload.addEventListener('end', () => {
        $rootScope.$applyAsync(() => {
          if (entry.upload.phase === 'active') {
            done.resolve(response)
          } else if (entry.upload.phase === 'cancelled') {
            restoreDialog()
            done.reject({ data: gettext('The upload was cancelled, and its image removed.') })
          }
          // A failure stays in the widget, with what the user can do.
        })
      })
      return done.promise
    }

    /** Closing the dialog by its cross or its own Cancel does not cancel the upload; say so. */
    function explainClosing(id) {
      const top = $injector.get('$uibModalStack').getTop()
      top?.value.modalScope.$on('modal.closing', (event, reason, closed) => {
        if (closed || !uploads.running.has(id)) return
        dom.toast('info', gettext('The upload continues. The header shows it and can cancel it.'))
      })
    }

    /** Close the dialog as after success, so that the table of images shows the queued image. */
    function closeDialog(imageId) {
      const stack = $injector.get('$uibModalStack')
      const top = stack.getTop()
      if (!top) return
      const results = $injector.get('horizon.framework.util.actions.action-result.service')
      const type = $injector.get('horizon.app.core.images.resourceType')
      $rootScope.$applyAsync(() => stack.close(top.key, results.getActionResult().created(type, imageId).result))
    }

    /** Send the file as Horizon does, in a cloud without the service. */
    function sendToGlance(file, response, onProgress) {
      const { upload_url: url, token_id: token } = response.data
      const headers = { 'Content-Type': 'application/octet-stream', 'X-Auth-Token': token }
      return http.put(url, file, { headers, external: true }).then(
        () => response,
        (error) => {
          toasts.add('error', gettext('Unable to create the image.'))
          return reject(error)
        },
        (event) => onProgress(Math.round((event.loaded / event.total) * 100)),
      )
    }
  }

  /**
   * Put the widget in place of the file button and Horizon's progress bar, or at the top of the dialog if a theme has
   * moved them. Return a function that restores the dialog.
   */
  function putIntoDialog(widget) {
    const replaced = [...document.querySelectorAll('.ng-wizard .file-upload > div')]
    const last = replaced.at(-1)
    const row = last?.closest('.row')
    const staleError = document.querySelector('.ng-wizard .error-message') // of an earlier attempt
    const hidden = staleError ? [...replaced, staleError] : replaced
    hidden.forEach((each) => each.classList.add('rg-replaced'))
    row?.classList.add('rg-wide')
    if (last) last.after(widget)
    else document.querySelector('.ng-wizard .modal-body')?.prepend(widget)
    widget.focus({ preventScroll: true }) // the focused button is disabled now
    return () => {
      widget.remove()
      hidden.forEach((each) => each.classList.remove('rg-replaced'))
      row?.classList.remove('rg-wide')
    }
  }
})()

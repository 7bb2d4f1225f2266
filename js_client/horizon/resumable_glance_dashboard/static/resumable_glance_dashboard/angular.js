/* The Angular dialog: createImage sends the file as a resumable upload, and the meter takes the file button's place. */
(function () {
  'use strict';

  var rg = horizon.resumableGlance;
  var SIZE = 'X-Resumable-Glance-Size';

  angular.module('horizon.resumable_glance', []).config(config);

  config.$inject = ['$provide'];

  function config($provide) {
    $provide.decorator('horizon.app.core.openstack-service-api.glance', glance);
  }

  glance.$inject = [
    '$delegate', '$injector', '$q', '$rootScope',
    'horizon.framework.util.http.service', 'horizon.framework.widgets.toast.service'
  ];

  function glance($delegate, $injector, $q, $rootScope, api, toast) {
    var horizons = $delegate.createImage;
    $delegate.createImage = createImage;
    return $delegate;

    function createImage(image, onProgress) {
      var file = image.data;
      if (image.source_type !== 'file-direct' || !(file instanceof File)) {
        return horizons(image, onProgress);
      }
      var described = angular.extend({}, image, { data: file.name });
      if (described.architecture === '') {
        delete described.architecture;
      }
      var headers = {};
      headers[SIZE] = String(file.size);
      return api.put('/api/glance/images/', described, { headers: headers }).then(
        function (response) {
          return response.data.resumable_upload
            ? send(file, image, response)
            : sendToGlance(file, response, onProgress);
        },
        refused
      );
    }

    function refused(error) {
      var sentence = angular.isString(error.data) && error.data || gettext('Unable to create the image.');
      return $q.reject({ data: sentence });
    }

    /* Until the image is active; then the response is Horizon's own, and so is all that follows. */
    function send(file, image, response) {
      var done = $q.defer();
      var entry = rg.uploads.begin(file, response.data.resumable_upload, image.name);
      var place = inDialog(rg.meter(entry, file.name, function () { close(response.data.id); }));
      var top = $injector.get('$uibModalStack').getTop();
      if (top) {
        // By its cross or its own Cancel, which is not Cancel Upload.
        top.value.modalScope.$on('modal.closing', function (event, reason, closed) {
          if (!closed && rg.uploads.running.has(entry.id)) {
            rg.toast('info', gettext('The upload goes on. The header shows it, and can cancel it.'));
          }
        });
      }
      entry.upload.addEventListener('end', function () {
        $rootScope.$applyAsync(function () {
          if (entry.upload.phase === 'active') {
            done.resolve(response);
          } else if (entry.upload.phase === 'cancelled') {
            place.restore();
            done.reject({ data: gettext('The upload was cancelled, and its image removed.') });
          }
          // A failure stays in the meter, with what can be done about it.
        });
      });
      return done.promise;
    }

    /* Close the dialog as if the image were there, so that the table of images shows it, queued. */
    function close(imageId) {
      var stack = $injector.get('$uibModalStack');
      var top = stack.getTop();
      if (top) {
        $rootScope.$applyAsync(function () {
          stack.close(top.key, $injector.get('horizon.framework.util.actions.action-result.service')
            .getActionResult()
            .created($injector.get('horizon.app.core.images.resourceType'), imageId)
            .result);
        });
      }
    }

    /* As Horizon does it: where the cloud has no service for resumable uploads. */
    function sendToGlance(file, response, onProgress) {
      if (!('upload_url' in response.data)) {
        return response;
      }
      return api.put(response.data.upload_url, file, {
        headers: { 'Content-Type': 'application/octet-stream', 'X-Auth-Token': response.data.token_id },
        external: true
      }).then(
        function () { return response; },
        function (error) {
          toast.add('error', gettext('Unable to create the image.'));
          return refused(error);
        },
        function (event) { onProgress(Math.round(event.loaded / event.total * 100)); }
      );
    }
  }

  /* Put the meter where the file button and Horizon's own bar are; if a theme has moved them, on top of the dialog. */
  function inDialog(meter) {
    var own = document.querySelectorAll('.ng-wizard .file-upload > div');
    var row = own.length ? own[0].closest('.row') : null;
    var before = document.querySelector('.ng-wizard .error-message'); // of another try, which Horizon leaves there
    if (before) {
      before.classList.add('rg-replaced');
    }
    if (row) {
      own.forEach(function (each) { each.classList.add('rg-replaced'); });
      row.classList.add('rg-wide');
      own[own.length - 1].after(meter);
    } else {
      var body = document.querySelector('.ng-wizard .modal-body');
      if (body) {
        body.prepend(meter);
      }
    }
    meter.focus({ preventScroll: true }); // the button that had it is disabled now
    return {
      restore: function () {
        meter.remove();
        if (before) {
          before.classList.remove('rg-replaced');
        }
        own.forEach(function (each) { each.classList.remove('rg-replaced'); });
        if (row) {
          row.classList.remove('rg-wide');
        }
      }
    };
  }
})();

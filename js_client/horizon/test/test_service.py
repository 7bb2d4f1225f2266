"""Tests of the plugin's requests to the service, run by Horizon's Python: no server, no Horizon."""

import unittest
from unittest import mock

import django

django.setup()

from resumable_glance_dashboard import service  # noqa: E402  (imports Horizon, which needs its settings)

UPLOAD = "node1-" + "0a" * 16
NOT_AN_ID = (
    "",
    ".",
    "..",
    "../" + UPLOAD,
    UPLOAD + "/ticket",
    UPLOAD + "\n",
    UPLOAD[:-1],
    UPLOAD + "0",
    UPLOAD.upper(),
    "0a" * 16,
    "-" + "0a" * 16,
    "x" * 17 + "-" + "0a" * 16,
    "a.b-" + "0a" * 16,
    "nöde-" + "0a" * 16,
)
CALLS = (service.get_upload, service.renew_ticket, service.cancel, service.retry)


class UploadIds(unittest.TestCase):
    """Upload ids reach the service's paths only in the form that the service gives them."""

    def setUp(self):
        endpoints = mock.patch.object(
            service, "endpoints", return_value=service.Endpoints("https://public", "https://internal")
        )
        self.request = mock.patch.object(service.requests, "request", side_effect=service.requests.ConnectionError)
        endpoints.start()
        self.sent = self.request.start()
        self.addCleanup(mock.patch.stopall)

    def test_other_texts_are_unknown_uploads(self):
        for call in CALLS:
            for text in NOT_AN_ID:
                with self.subTest(call=call.__name__, text=text):
                    with self.assertRaises(service.Refused) as caught:
                        call(mock.Mock(), text)
                    self.assertEqual(caught.exception.status_code, 404)
                    self.sent.assert_not_called()

    def test_ids_go_into_the_path(self):
        for call in CALLS:
            with self.subTest(call=call.__name__):
                self.sent.reset_mock()
                with self.assertLogs(service.LOG), self.assertRaises(service.Refused) as caught:
                    call(mock.Mock(), UPLOAD)
                self.assertEqual(caught.exception.status_code, 503)
                self.assertEqual(self.sent.call_args.args[1].split("/")[:6][-1], UPLOAD)


class Uploads(unittest.TestCase):
    """Uploads are read from the service's documents, as docs/openapi.yaml describes them."""

    def read(self, **members):
        document = {
            "id": UPLOAD,
            "state": "failed",
            "size": 3,
            "received": 2,
            "image": {"id": "image", "name": "disk"},
            "created_at": "2026-01-02T03:04:05Z",
            "updated_at": "2026-01-02T03:04:06Z",
            **members,
        }
        with mock.patch.object(service, "_request", return_value=document):
            return service.get_upload(mock.Mock(), UPLOAD)

    def test_the_last_error_is_its_sentence(self):
        error = {"reason": "format-mismatch", "detail": "It is no qcow2."}
        self.assertEqual(self.read(handoff={"last_error": error}).last_error, "It is no qcow2.")
        self.assertEqual(self.read(handoff={"last_error": None}).last_error, "")
        self.assertEqual(self.read().last_error, "")

    def test_parts_have_no_image(self):
        upload = self.read(image=None)
        self.assertEqual((upload.name, upload.image_id), ("", None))


if __name__ == "__main__":
    unittest.main()

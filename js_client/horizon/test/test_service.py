"""Tests of the plugin's requests to the service, run by Horizon's Python: no server, no Horizon."""

import re
import unittest
from unittest import mock

import django
from django.test import override_settings

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

    def test_a_grant_and_an_image_have_ids_too(self):
        image_id = "01234567-89ab-cdef-0123-456789abcdef"
        ticket = {"value": "t"}
        for upload, image, status in ((UPLOAD, image_id, None), ("..", image_id, 404), (UPLOAD, "..", 502)):
            document = {"id": upload, "image": {"id": image}, "ticket": ticket}
            answer = mock.patch.object(service, "_request", return_value=document)
            with self.subTest(upload=upload, image=image), answer:
                if status is None:
                    created, grant = service.create(mock.Mock(), {}, 1)
                    self.assertEqual(created, image_id)
                    self.assertEqual(grant["url"], f"https://public/v1/uploads/{UPLOAD}")
                    continue
                with self.assertRaises(service.Refused) as caught:
                    service.create(mock.Mock(), {}, 1)
                self.assertEqual(caught.exception.status_code, status)

    def test_rest_paths_have_ids_only(self):
        from resumable_glance_dashboard import rest

        for view, action in ((rest.Upload, ""), (rest.Ticket, "ticket/")):
            for text in (UPLOAD, *NOT_AN_ID):
                with self.subTest(view=view.__name__, text=text):
                    found = re.match(view.url_regex, f"resumable_glance/uploads/{text}/{action}")
                    self.assertEqual(bool(found), text == UPLOAD)


class Identities(unittest.TestCase):
    """Records of uploads in a browser are kept apart by user and project."""

    def told(self, project, user):
        request = mock.Mock()
        request.user.project_id, request.user.id = project, user
        return service.identity(request)

    def test_each_user_of_each_project_has_one(self):
        pairs = [("p", "ada"), ("p", "bob"), ("q", "ada"), ("ada", "p"), ("pa", "da")]
        self.assertEqual(self.told("p", "ada"), self.told("p", "ada"))
        self.assertEqual(len({self.told(*each) for each in pairs}), len(pairs))

    def test_it_depends_on_the_secret_key(self):
        before = self.told("p", "ada")
        with override_settings(SECRET_KEY="another"):
            self.assertNotEqual(self.told("p", "ada"), before)


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

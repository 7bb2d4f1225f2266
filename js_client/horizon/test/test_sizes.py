"""Tests of the sizes in the panels' tables, run by Horizon's Python."""

import json
import pathlib
import unittest

import django
from django.utils import translation

django.setup()

from resumable_glance_dashboard.sizes import format_size  # noqa: E402  (Django first)

VECTORS = pathlib.Path(__file__).parents[3] / "tests" / "vectors" / "sizes.json"


class Sizes(unittest.TestCase):
    def test_vectors(self):
        vectors = json.loads(VECTORS.read_text())
        self.assertGreater(len(vectors), 20)
        for vector in vectors:
            with self.subTest(bytes=vector["bytes"]):
                self.assertEqual(format_size(vector["bytes"]), vector["text"])

    def test_rates_have_fractions(self):
        self.assertEqual(format_size(99.6), "100 B")
        self.assertEqual(format_size(1023.6), "1.0 KiB")

    def test_numbers_are_localized(self):
        with translation.override("de"):
            self.assertTrue(format_size(1536).startswith("1,5 "))


if __name__ == "__main__":
    unittest.main()

"""Tests of our clients and of other people's against a running service."""

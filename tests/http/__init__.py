"""Tests of the service as a process, spoken to over HTTP."""

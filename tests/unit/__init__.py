"""Tests of one module with its neighbours, in this process. The tree mirrors the package."""

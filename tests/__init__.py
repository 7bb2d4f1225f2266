"""Tests by kind, and what they share. CONTRIBUTING.md says where a new one goes."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]  # of the repository

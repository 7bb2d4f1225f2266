"""Uploads under everything that can happen to them, against a model: tests/state_machine.py says how."""

from __future__ import annotations

import asyncio

from resumable_glance import testing
from tests.launcher import ProjectGate, token
from tests.state_machine import run

STEPS = 20_000  # the full reliability run takes 100,000: python -m tests.state_machine
SEED = 1  # the same choices each time; what the network and the disk make of them is never the same


def test_the_sink_has_received_what_the_model_has_exactly_once() -> None:
    assert run(STEPS, SEED) >= STEPS


def test_the_gate_of_many_projects_keeps_the_contract_of_gates() -> None:
    bad = [{}, {"x-auth-token": ""}, {"x-auth-token": "ada"}, token("")]
    bad = [{name.lower(): value for name, value in each.items()} for each in bad]
    good = {name.lower(): value for name, value in token("ada").items()}
    asyncio.run(testing.check_gate(ProjectGate(), good, bad))

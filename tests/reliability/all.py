"""All trials except the sabotages, which are about these."""

from __future__ import annotations

from tests.reliability import (
    abuse,
    any_order,
    clock_jumps,
    crash_states,
    cuts,
    fault_schedules,
    faults_by_strace,
    flips,
    full_disk,
    fuzz,
    io_faults,
    kills,
    mutants,
    power,
    restarts,
    slow,
    slow_inputs,
    startup,
    takeovers,
)
from tests.reliability.trial import Trial

# The longest first: the full run starts them in this order, two at a time.
TRIALS: tuple[Trial, ...] = tuple(
    each.TRIAL
    for each in (
        abuse,
        any_order,
        mutants,
        fuzz,
        fault_schedules,
        crash_states,
        kills,
        power,
        cuts,
        restarts,
        io_faults,
        faults_by_strace,
        full_disk,
        clock_jumps,
        flips,
        slow,
        slow_inputs,
        startup,
        takeovers,
    )
)

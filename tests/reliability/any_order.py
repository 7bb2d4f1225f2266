"""Random sequences of everything that can happen to uploads, against a model: state_machine.py as a trial."""

from __future__ import annotations

from tests.reliability import state_machine
from tests.reliability.trial import Result, Sabotage, Trial, run_as_program


def run(count: int, seed: int) -> Result:
    steps = state_machine.run(count, seed, smaller=False)  # the failure's note has the command that shrinks it
    answers = state_machine.Uploads.harness.answers
    return Result(
        f"{steps:,} steps, {answers.total():,} answers of {len(answers)} kinds, each as the model has it",
        {"steps": steps, "answers": answers.total(), "kinds": len(answers)},
    )


TRIAL = Trial(
    name="any_order",
    promise="Chunks are sent, cut, repeated, corrupted and raced, uploads expire, the service restarts, in three "
    "protocols and in any order: each answer is the right one, and the image gets exactly the bytes, once.",
    unit="steps of a Hypothesis state machine",
    share=20_000,
    full=100_000,
    deep=2_000_000,
    run=run,
    sabotages=(
        Sabotage(
            "an upload can be reached by every project",
            "uploads/authorization.py",
            "foreign = upload is not None and upload.owner != identity.owner and of_others not in identity.allowed",
            "foreign = False",
            count=1_000,
        ),
        Sabotage(
            "a newer request writes before the older one of its range has ended",
            "uploads/write_locks.py",
            "            await _evict(rivals, Reason.SUPERSEDED)\n",
            "",
            count=4_000,
        ),
        Sabotage(
            "an interrupted chunk with a digest is kept in part",
            "uploads/chunk_writer.py",
            "if refusal.reason in _INTERRUPTIONS and not self._chunk.declared:",
            "if refusal.reason in _INTERRUPTIONS:",
            count=2_000,
        ),
    ),
)

if __name__ == "__main__":
    run_as_program(TRIAL)

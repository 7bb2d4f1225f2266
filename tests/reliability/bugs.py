"""What the trials, and the tests that they grew out of, have found."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Bug:
    """`proof` is the test, or the command, that fails when the commit `mended` is undone."""

    what: str
    proof: str
    mended: str


BUGS: tuple[Bug, ...] = (
    Bug(
        "A part that was joined at the very moment in which it was cancelled lost its bytes, and the whole with it.",
        "tests/unit/uploads/test_join.py::test_a_part_that_is_joined_while_it_is_being_cancelled_stays",
        "6098e6c",
    ),
    Bug(
        "An upload whose chunk was acknowledged while the janitor was busy with others could still expire.",
        "tests/unit/uploads/test_cleanup.py::test_an_upload_continued_during_cleanup_does_not_expire",
        "a0fb3f0",
    ),
    Bug(
        "The directory sink called an image complete before its name was durable: scratch was freed, and after a power "
        "cut neither was there.",
        "tests/unit/images/test_directory.py::test_an_image_has_a_durable_name_before_it_is_complete",
        "803821f",
    ),
    Bug(
        "A crash while the service followed a clock that had been set moved all expiries twice, or not at all.",
        "tests/unit/uploads/test_cleanup.py::test_a_crash_during_a_clock_shift_shifts_nothing_twice",
        "c3582fc",
    ),
    Bug(
        "A chunk that had just begun when a stop came was not ended by it: the stop waited, and its bytes were lost.",
        "tests/unit/uploads/test_service.py::test_a_stop_asks_a_chunk_that_just_began_to_retry",
        "4ee92e9",
    ),
    Bug(
        "Whoever asked for the offset while an ordered chunk had only just begun did not take it over: the offset told "
        "could move afterwards.",
        "tests/unit/uploads/test_inspect.py::test_a_question_right_after_a_chunk_began_takes_over",
        "6eb68ca",
    ),
    Bug(
        "A disk that was full for the catalog, and not for the bytes, was a bare 500.",
        "tests/unit/uploads/test_append.py::test_a_full_catalog_acknowledges_and_loses_nothing",
        "c80889e",
    ),
    Bug(
        "Bytes in a transfer coding that nobody undoes were taken for the image.",
        "tests/http/test_wire.py::test_an_unsupported_transfer_coding_is_refused",
        "8184a7f",
    ),
    Bug(
        "Six questions to a Keystone that hung stopped every upload: they held the threads that hashing needs.",
        "tests/unit/auth/test_keystone.py::test_a_hanging_keystone_holds_no_thread_of_storage",
        "e35d5a2",
    ),
    Bug(
        "A Glance that hung during a handoff held up a stop until somebody killed the service.",
        "tests/openstack/test_uploads.py::test_a_hanging_glance_delays_no_stop",
        "e35d5a2",
    ),
    Bug(
        "A chunk that was cancelled while a thread wrote for it gave its range back before the write had ended: "
        "late bytes could land.",
        "python -m tests.reliability.crash_states --count 30000 --seed 1",
        "3d0ac2f",
    ),
    Bug(
        "A start that failed between making a directory and flushing its name left it to the next one, which did not "
        "flush it any more: a power cut could take all of scratch.",
        "tests/unit/storage/test_local.py::test_a_start_makes_a_failed_starts_directories_durable",
        "663107a",
    ),
    Bug(
        "A removal from scratch that failed half-way, and was tried again, was not flushed.",
        "tests/unit/storage/test_local.py::test_a_removal_that_is_tried_again_is_durable",
        "8b3945b",
    ),
    Bug(
        "The directory sink did not flush a removal, so that an image that was discarded came back after a power cut.",
        "python -m tests.reliability.power --count 200 --seed 7",
        "d6af0e6",
    ),
    Bug(
        "A first start that died while it made the key file kept every later one from running.",
        "tests/unit/auth/test_encryption.py::test_a_crash_while_the_key_is_made_blocks_no_next_start",
        "0bd2e97",
    ),
    Bug(
        "What was committed while the janitor followed a clock that had been set expired at once, or was forgotten.",
        "tests/unit/uploads/test_cleanup.py::test_a_clock_shift_expires_no_recorded_chunk",
        "bfc315a",
    ),
    Bug(
        "An upload that was sealed when the disk became full waited until something else woke the handoff.",
        "tests/unit/uploads/test_completion.py::test_a_full_catalog_does_not_stop_a_handoff",
        "ce32160",
    ),
    Bug(
        "A slow body was gathered to a megabyte before it was written: a thousand slow clients, a gigabyte of memory.",
        "tests/unit/api/http11/test_body.py::test_slow_bytes_do_not_wait_for_a_full_batch",
        "0039017",
    ),
    Bug(
        "The upload command ended with a traceback over a Retry-After in the year 9999999 or JSON nested too deeply.",
        "tests/unit/client/test_api.py::test_deeply_nested_json_is_no_document",
        "41a7420",
    ),
    Bug(
        "A scratch file that could not be opened or read for a moment failed the upload for good.",
        "tests/unit/handoff/test_delivering.py::test_unreadable_storage_delays_a_handoff",
        "2d8b4f0",
    ),
    Bug(
        "Who asked for an upload at the moment in which its size was told could read that all bytes are there and that "
        "it is still receiving.",
        "tests/unit/uploads/test_completion.py::test_a_size_declared_during_a_question_seals",
        "6714893",
    ),
    Bug(
        "Of two buffers of a body the later one could be read first, if the earlier one became full at the very moment "
        "in which nobody waited for it any longer: bytes changed their places.",
        "tests/unit/api/http11/test_transport.py::test_a_buffer_filled_at_the_timeout_comes_first",
        "73ca51a",
    ),
    Bug(
        "A reader who left in the middle of a body kept its buffers from all others, for ever.",
        "tests/unit/api/http11/test_transport.py::test_at_the_end_every_buffer_is_back_once",
        "5ec2ab8",
    ),
)

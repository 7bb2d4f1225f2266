"""The bugs that the trials have found, or the tests from which they grew."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Bug:
    """A bug. `proof` is the test, or the command, that fails when the commit `fixed` is reverted."""

    what: str
    proof: str
    fixed: str


BUGS: tuple[Bug, ...] = (
    Bug(
        "A part that was joined while it was being cancelled lost its bytes, and so did the whole.",
        "test_a_part_that_is_joined_while_it_is_being_cancelled_stays",
        "6098e6c",
    ),
    Bug(
        "An upload whose chunk was acknowledged while the cleaner worked on others could still expire.",
        "test_an_upload_continued_during_cleanup_does_not_expire",
        "a0fb3f0",
    ),
    Bug(
        "The directory image service reported an image active before its name was durable: scratch was freed, and a "
        "power cut lost both.",
        "test_an_image_has_a_durable_name_before_it_is_complete",
        "803821f",
    ),
    Bug(
        "A crash while the service followed a clock that was set moved all expiries twice, or not at all.",
        "test_a_crash_during_a_clock_shift_shifts_nothing_twice",
        "c3582fc",
    ),
    Bug(
        "A chunk that had just begun was not ended by a stop: the stop waited, and the bytes were lost.",
        "test_a_stop_asks_a_chunk_that_just_began_to_retry",
        "4ee92e9",
    ),
    Bug(
        "A question for the offset did not end a tus chunk that had just begun: the offset could move afterwards.",
        "test_a_question_right_after_a_chunk_began_takes_over",
        "6eb68ca",
    ),
    Bug(
        "A disk that was full for the catalog but not for the bytes led to a bare 500.",
        "test_a_full_catalog_acknowledges_and_loses_nothing",
        "c80889e",
    ),
    Bug(
        "A body in an unsupported transfer coding was taken for the image.",
        "test_an_unsupported_transfer_coding_is_refused",
        "8184a7f",
    ),
    Bug(
        "Six requests to a Keystone that hung stopped every upload: they held the threads that hash.",
        "test_a_hanging_keystone_holds_no_thread_of_storage",
        "e35d5a2",
    ),
    Bug(
        "A Glance that hung during a handoff delayed a stop until the service was killed.",
        "test_a_hanging_glance_delays_no_stop",
        "e35d5a2",
    ),
    Bug(
        "A chunk that was cancelled while a thread wrote for it released its range before the write had ended: late "
        "bytes could land.",
        "python -m tests.reliability.crash_states --count 30000 --seed 1",
        "3d0ac2f",
    ),
    Bug(
        "A start that failed between making a directory and flushing its name was followed by one that did not flush "
        "it either: a power cut could lose all of scratch.",
        "test_a_start_makes_a_failed_starts_directories_durable",
        "663107a",
    ),
    Bug(
        "A removal from scratch that failed half-way was not flushed when it was retried.",
        "test_a_removal_that_is_tried_again_is_durable",
        "8b3945b",
    ),
    Bug(
        "The directory image service did not flush a removal: a power cut brought a deleted image back.",
        "python -m tests.reliability.power --count 200 --seed 7",
        "d6af0e6",
    ),
    Bug(
        "A first start that died while it made the key file made every later start fail.",
        "test_a_crash_while_the_key_is_made_blocks_no_next_start",
        "0bd2e97",
    ),
    Bug(
        "A chunk that was committed while the cleaner followed a clock that was set expired at once, or was purged.",
        "test_a_clock_shift_expires_no_recorded_chunk",
        "bfc315a",
    ),
    Bug(
        "The handoff of an upload that was sealed when the disk became full began only after some other event.",
        "test_a_full_catalog_does_not_stop_a_handoff",
        "ce32160",
    ),
    Bug(
        "A slow body was gathered to a mebibyte before it was written: a thousand slow clients took a gibibyte.",
        "test_slow_bytes_do_not_wait_for_a_full_batch",
        "0039017",
    ),
    Bug(
        "The upload command ended with a traceback over a Retry-After in the year 9999999 or JSON nested too deeply.",
        "test_deeply_nested_json_is_no_document",
        "41a7420",
    ),
    Bug(
        "A scratch file that could not be read for a moment failed the upload for good.",
        "test_unreadable_storage_delays_a_handoff",
        "2d8b4f0",
    ),
    Bug(
        "The description of an upload while its size was announced could have all bytes and the state receiving.",
        "test_a_size_declared_during_a_question_seals",
        "6714893",
    ),
    Bug(
        "The later of two buffers of a body could be read first, if the earlier one became full at the moment of the "
        "reader's timeout: bytes changed their places.",
        "test_a_buffer_filled_at_the_timeout_comes_first",
        "73ca51a",
    ),
    Bug(
        "A reader that left in the middle of a body never gave its buffers back.",
        "test_at_the_end_every_buffer_is_back_once",
        "5ec2ab8",
    ),
    Bug(
        "A request that had been superseded went on for as long as its client sent faster than its bytes were written.",
        "test_a_client_that_never_stops_sending_can_be_interrupted",
        "4a6ae7c",
    ),
    Bug(
        "A request that evicted another one just as that one's timer ran out failed with an internal error.",
        "test_a_second_interruption_may_come_at_any_moment",
        "4a6ae7c",
    ),
)

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
        "test_an_upload_that_was_continued_while_others_expired_does_not_expire",
        "a0fb3f0",
    ),
    Bug(
        "The directory image service reported an image active before its name was durable: scratch was freed, and a "
        "power cut lost both.",
        "test_an_image_in_the_directory_has_a_durable_name_before_it_is_complete",
        "803821f",
    ),
    Bug(
        "A crash while the service followed a clock that was set moved all expiries twice, or not at all.",
        "test_a_crash_while_a_clock_that_was_set_is_followed_moves_nothing_twice",
        "c3582fc",
    ),
    Bug(
        "A chunk that had just begun was not ended by a stop: the stop waited, and the bytes were lost.",
        "test_a_chunk_that_has_only_just_begun_when_the_service_stops_is_told_to_come_back",
        "4ee92e9",
    ),
    Bug(
        "A question for the offset did not end a tus chunk that had just begun: the offset could move afterwards.",
        "test_whoever_asks_right_after_an_ordered_chunk_has_begun_takes_over_too",
        "6eb68ca",
    ),
    Bug(
        "A disk that was full for the catalog but not for the bytes led to a bare 500.",
        "test_when_the_disk_is_full_for_the_catalog_nothing_is_acknowledged_and_nothing_lost",
        "c80889e",
    ),
    Bug(
        "A body in an unsupported transfer coding was taken for the image.",
        "test_bytes_in_a_transfer_coding_that_is_not_undone_here_are_not_taken_for_the_image",
        "8184a7f",
    ),
    Bug(
        "Six requests to a Keystone that hung stopped every upload: they held the threads that hash.",
        "test_a_keystone_that_hangs_holds_no_thread_that_scratch_needs",
        "e35d5a2",
    ),
    Bug(
        "A Glance that hung during a handoff delayed a stop until the service was killed.",
        "test_a_glance_that_hangs_delays_no_stop_and_the_handoff_goes_on_after_it",
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
        "test_a_start_makes_durable_what_one_that_failed_has_left",
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
        "test_a_first_start_that_dies_while_it_makes_the_key_is_no_obstacle_for_the_next",
        "0bd2e97",
    ),
    Bug(
        "A chunk that was committed while the cleaner followed a clock that was set expired at once, or was purged.",
        "test_a_chunk_that_is_recorded_while_a_clock_is_followed_does_not_expire_for_it",
        "bfc315a",
    ),
    Bug(
        "The handoff of an upload that was sealed when the disk became full began only after some other event.",
        "test_what_is_sealed_is_handed_over_even_if_the_catalog_can_not_keep_its_newest_token",
        "ce32160",
    ),
    Bug(
        "A slow body was gathered to a mebibyte before it was written: a thousand slow clients took a gibibyte.",
        "test_what_comes_slowly_does_not_wait_in_memory_for_a_full_batch",
        "0039017",
    ),
    Bug(
        "The upload command ended with a traceback over a Retry-After in the year 9999999 or JSON nested too deeply.",
        "test_deeply_nested_json_is_no_document",
        "41a7420",
    ),
    Bug(
        "A scratch file that could not be read for a moment failed the upload for good.",
        "test_scratch_that_can_not_be_read_for_a_moment_delays_a_handoff_and_fails_nothing",
        "2d8b4f0",
    ),
    Bug(
        "The description of an upload while its size was announced could have all bytes and the state receiving.",
        "test_a_size_that_is_told_while_somebody_asks_makes_the_answer_complete_or_is_not_in_it",
        "6714893",
    ),
    Bug(
        "The later of two buffers of a body could be read first, if the earlier one became full at the moment of the "
        "reader's timeout: bytes changed their places.",
        "test_a_buffer_that_is_full_at_the_very_moment_in_which_it_was_waited_for_too_long_comes_first",
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

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
        "unit/uploads/test_join.py::test_a_part_that_is_joined_while_it_is_being_cancelled_stays",
        "6098e6c",
    ),
    Bug(
        "An upload whose chunk was acknowledged while the janitor was busy with others could still expire.",
        "unit/uploads/test_service.py::test_an_upload_that_was_continued_while_others_expired_does_not_expire",
        "a0fb3f0",
    ),
    Bug(
        "The directory sink called an image complete before its name was durable: scratch was freed, and after a power "
        "cut neither was there.",
        "unit/images/test_image_services.py::test_an_image_in_the_directory_has_a_durable_name_before_it_is_complete",
        "803821f",
    ),
    Bug(
        "A crash while the service followed a clock that had been set moved all expiries twice, or not at all.",
        "unit/uploads/test_cleanup.py::test_a_crash_while_a_clock_that_was_set_is_followed_moves_nothing_twice",
        "c3582fc",
    ),
    Bug(
        "A chunk that had just begun when a stop came was not ended by it: the stop waited, and its bytes were lost.",
        "unit/uploads/test_service.py::test_a_chunk_that_has_only_just_begun_when_the_service_stops_is_told_to_come_back",
        "4ee92e9",
    ),
    Bug(
        "Whoever asked for the offset while an ordered chunk had only just begun did not take it over: the offset told "
        "could move afterwards.",
        "unit/uploads/test_service.py::test_whoever_asks_right_after_an_ordered_chunk_has_begun_takes_over_too",
        "6eb68ca",
    ),
    Bug(
        "A disk that was full for the catalog, and not for the bytes, was a bare 500.",
        "unit/uploads/test_service.py::test_when_the_disk_is_full_for_the_catalog_nothing_is_acknowledged_and_nothing_lost",
        "c80889e",
    ),
    Bug(
        "Bytes in a transfer coding that nobody undoes were taken for the image.",
        "http/test_wire.py::test_bytes_in_a_transfer_coding_that_is_not_undone_here_are_not_taken_for_the_image",
        "8184a7f",
    ),
    Bug(
        "Six questions to a Keystone that hung stopped every upload: they held the threads that hashing needs.",
        "unit/auth/test_authenticators.py::test_a_keystone_that_hangs_holds_no_thread_that_scratch_needs",
        "e35d5a2",
    ),
    Bug(
        "A Glance that hung during a handoff held up a stop until somebody killed the service.",
        "openstack/test_uploads.py::test_a_glance_that_hangs_delays_no_stop_and_the_handoff_goes_on_after_it",
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
        "unit/storage/test_local.py::test_a_start_makes_durable_what_one_that_failed_has_left",
        "663107a",
    ),
    Bug(
        "A removal from scratch that failed half-way, and was tried again, was not flushed.",
        "unit/storage/test_local.py::test_a_removal_that_is_tried_again_is_durable",
        "8b3945b",
    ),
    Bug(
        "The directory sink did not flush a removal, so that an image that was discarded came back after a power cut.",
        "python -m tests.reliability.power --count 200 --seed 7",
        "d6af0e6",
    ),
    Bug(
        "A first start that died while it made the key file kept every later one from running.",
        "unit/auth/test_encryption.py::test_a_first_start_that_dies_while_it_makes_the_key_is_no_obstacle_for_the_next",
        "0bd2e97",
    ),
    Bug(
        "What was committed while the janitor followed a clock that had been set expired at once, or was forgotten.",
        "unit/uploads/test_cleanup.py::test_a_chunk_that_is_recorded_while_a_clock_is_followed_does_not_expire_for_it",
        "bfc315a",
    ),
    Bug(
        "An upload that was sealed when the disk became full waited until something else woke the handoff.",
        "unit/uploads/test_service.py::test_what_is_sealed_is_handed_over_even_if_the_catalog_can_not_keep_its_newest_token",
        "ce32160",
    ),
    Bug(
        "A slow body was gathered to a megabyte before it was written: a thousand slow clients, a gigabyte of memory.",
        "unit/api/http11/test_body.py::test_what_comes_slowly_does_not_wait_in_memory_for_a_full_batch",
        "0039017",
    ),
    Bug(
        "The upload command ended with a traceback over a Retry-After in the year 9999999 or JSON nested too deeply.",
        "unit/client/test_client.py::test_deeply_nested_json_is_no_document",
        "41a7420",
    ),
    Bug(
        "A scratch file that could not be opened or read for a moment failed the upload for good.",
        "unit/uploads/test_service.py::test_scratch_that_can_not_be_read_for_a_moment_delays_a_handoff_and_fails_nothing",
        "2d8b4f0",
    ),
    Bug(
        "Who asked for an upload at the moment in which its size was told could read that all bytes are there and that "
        "it is still receiving.",
        "unit/uploads/test_join.py::test_a_size_that_is_told_while_somebody_asks_makes_the_answer_complete_or_is_not_in_it",
        "6714893",
    ),
    Bug(
        "Of two buffers of a body the later one could be read first, if the earlier one became full at the very moment "
        "in which nobody waited for it any longer: bytes changed their places.",
        "unit/api/http11/test_transport.py::test_a_buffer_that_is_full_at_the_very_moment_in_which_it_was_waited_for_too_long_comes_first",
        "73ca51a",
    ),
    Bug(
        "A reader who left in the middle of a body kept its buffers from all others, for ever.",
        "unit/api/http11/test_transport.py::test_at_the_end_every_buffer_is_back_once",
        "5ec2ab8",
    ),
    Bug(
        "A request that had been superseded went on for as long as its client sent faster than its bytes were written.",
        "unit/api/http11/test_transport.py::test_a_client_that_never_stops_sending_can_be_interrupted",
        "4a6ae7c",
    ),
    Bug(
        "A request that evicted another one just as that one's timer ran out failed with an internal error.",
        "unit/api/http11/test_body.py::test_a_second_interruption_may_come_at_any_moment",
        "4a6ae7c",
    ),
)

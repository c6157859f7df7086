# SPDX-License-Identifier: GPL-3.0-or-later
"""The ledger's service, as on SQLite: group commit, refusals, losses, the client's reconnect."""

import pytest

from database_kit import Base
from unit.test_ledger_service import (
    test_a_call_is_logged_in_order_and_verifies,
    test_a_client_survives_a_restart_of_the_ledger_and_keeps_its_call,
    test_a_long_lost_recording_is_accounted_for_in_several_events,
    test_a_lost_call_whose_files_cannot_be_read_is_settled_at_the_next_start,
    test_a_lost_worker_loses_its_calls_and_only_those,
    test_a_peer_that_is_not_allowed_is_disconnected,
    test_a_permit_whose_recorder_kept_nothing_leaves_no_trace_of_a_recording,
    test_a_recording_that_outlives_its_call_can_still_stop,
    test_a_stop_in_order_ends_with_a_checkpoint_over_everything,
    test_a_worker_cannot_speak_for_the_call_of_another,
    test_a_write_error_refuses_all_that_waits_and_ends_the_ledger,
    test_an_acknowledged_event_is_on_disk,
    test_an_event_that_was_sent_again_is_in_the_log_once,
    test_calls_left_open_by_an_unclean_stop_are_lost_unless_claimed,
    test_checkpoints_are_made_after_a_time,
    test_checkpoints_are_made_every_n_events,
    test_nothing_can_be_said_about_a_call_that_was_lost_or_has_ended,
    test_segments_of_a_recording_that_never_said_it_started_are_accounted_for,
    test_the_clients_queue_is_bounded,
    test_the_largest_event_that_is_accepted_can_be_signed,
    test_the_same_log_is_not_opened_twice,
    test_wrong_events_are_refused_with_the_reason,
)

__all__ = [
    "test_a_call_is_logged_in_order_and_verifies",
    "test_a_client_survives_a_restart_of_the_ledger_and_keeps_its_call",
    "test_a_long_lost_recording_is_accounted_for_in_several_events",
    "test_a_lost_call_whose_files_cannot_be_read_is_settled_at_the_next_start",
    "test_a_lost_worker_loses_its_calls_and_only_those",
    "test_a_peer_that_is_not_allowed_is_disconnected",
    "test_a_permit_whose_recorder_kept_nothing_leaves_no_trace_of_a_recording",
    "test_a_recording_that_outlives_its_call_can_still_stop",
    "test_a_stop_in_order_ends_with_a_checkpoint_over_everything",
    "test_a_worker_cannot_speak_for_the_call_of_another",
    "test_a_write_error_refuses_all_that_waits_and_ends_the_ledger",
    "test_an_acknowledged_event_is_on_disk",
    "test_an_event_that_was_sent_again_is_in_the_log_once",
    "test_calls_left_open_by_an_unclean_stop_are_lost_unless_claimed",
    "test_checkpoints_are_made_after_a_time",
    "test_checkpoints_are_made_every_n_events",
    "test_nothing_can_be_said_about_a_call_that_was_lost_or_has_ended",
    "test_segments_of_a_recording_that_never_said_it_started_are_accounted_for",
    "test_the_clients_queue_is_bounded",
    "test_the_largest_event_that_is_accepted_can_be_signed",
    "test_the_same_log_is_not_opened_twice",
    "test_wrong_events_are_refused_with_the_reason",
]


@pytest.fixture
def home(postgres: Base) -> Base:
    return postgres

# SPDX-License-Identifier: GPL-3.0-or-later
"""What tampering leaves in PostgreSQL, found as in SQLite; by somebody who owns the server."""

import pytest

from database_kit import Base
from fault.test_tampering_log import (
    test_a_chain_that_the_key_itself_signed_wrong,
    test_a_changed_byte_in_any_event,
    test_a_changed_checkpoint,
    test_a_changed_column_beside_the_event,
    test_a_changed_recording,
    test_a_cut_tail_against_a_checkpoint_kept_outside,
    test_a_cut_tail_against_the_newest_stored_checkpoint,
    test_a_disclosure_moved_to_another_event,
    test_a_dropped_event,
    test_a_dropped_event_with_the_rest_moved_up,
    test_a_kept_checkpoint_of_a_longer_log_that_was_rewritten,
    test_a_kept_checkpoint_of_an_honest_log_holds,
    test_a_kept_checkpoint_that_is_forged,
    test_a_link_in_place_of_a_segment,
    test_a_recording_that_runs_has_files_and_nothing_else,
    test_a_segment_that_is_logged_twice,
    test_a_stray_file_anywhere,
    test_an_altered_disclosure,
    test_an_event_signed_for_a_time_before_the_last,
    test_an_event_signed_for_another_log_with_the_same_key,
    test_an_inserted_copy_of_an_event,
    test_an_inserted_event_signed_with_another_key,
    test_erased_disclosures_are_no_finding,
    test_facts_of_a_segment_that_are_incomplete,
    test_files_of_an_erased_recording,
    test_samples_that_are_not_those_of_the_segments,
    test_segments_of_a_recording_that_never_started,
    test_the_finding_names_the_call,
    test_the_whole_recording_removed,
    test_two_segments_that_changed_names,
    test_two_swapped_events,
)
from ledger_kit import recorded_call

__all__ = [
    "test_a_chain_that_the_key_itself_signed_wrong",
    "test_a_changed_byte_in_any_event",
    "test_a_changed_checkpoint",
    "test_a_changed_column_beside_the_event",
    "test_a_changed_recording",
    "test_a_cut_tail_against_a_checkpoint_kept_outside",
    "test_a_cut_tail_against_the_newest_stored_checkpoint",
    "test_a_disclosure_moved_to_another_event",
    "test_a_dropped_event",
    "test_a_dropped_event_with_the_rest_moved_up",
    "test_a_kept_checkpoint_of_a_longer_log_that_was_rewritten",
    "test_a_kept_checkpoint_of_an_honest_log_holds",
    "test_a_kept_checkpoint_that_is_forged",
    "test_a_link_in_place_of_a_segment",
    "test_a_recording_that_runs_has_files_and_nothing_else",
    "test_a_segment_that_is_logged_twice",
    "test_a_stray_file_anywhere",
    "test_an_altered_disclosure",
    "test_an_event_signed_for_a_time_before_the_last",
    "test_an_event_signed_for_another_log_with_the_same_key",
    "test_an_inserted_copy_of_an_event",
    "test_an_inserted_event_signed_with_another_key",
    "test_erased_disclosures_are_no_finding",
    "test_facts_of_a_segment_that_are_incomplete",
    "test_files_of_an_erased_recording",
    "test_samples_that_are_not_those_of_the_segments",
    "test_segments_of_a_recording_that_never_started",
    "test_the_finding_names_the_call",
    "test_the_whole_recording_removed",
    "test_two_segments_that_changed_names",
    "test_two_swapped_events",
]


@pytest.fixture
def home(postgres: Base) -> Base:
    recorded_call(postgres)
    assert postgres.verify(files=True) == []
    return postgres

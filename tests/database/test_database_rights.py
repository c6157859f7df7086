# SPDX-License-Identifier: GPL-3.0-or-later
"""Retention, holds, requests and erasure by the commands that people use, with the log in PostgreSQL."""

from pathlib import Path

import pytest

from fault.test_rights_crash import (
    test_a_field_is_never_in_the_database_before_its_secret_is_durable,
    test_secrets_die_before_the_rows_and_the_event,
)
from postgres_kit import Cluster
from rights_kit import Server, make_server
from unit.test_rights_hold import (
    test_a_hold_by_number_covers_calls_that_come_later,
    test_a_hold_needs_something_to_hold_and_a_label_without_names,
    test_only_an_officer_lifts,
    test_what_is_held_stays_and_is_named,
)
from unit.test_rights_retention import (
    test_a_run_that_was_cut_short_is_finished,
    test_a_second_run_finds_nothing_left_to_do,
    test_each_kind_goes_on_its_own_clock,
    test_evidence_does_not_go_by_the_shorter_clock,
    test_the_callers_number_goes_when_its_evidence_is_over,
    test_the_ledger_lets_nothing_go_early,
    test_the_plan_says_when,
    test_what_a_withdrawal_should_have_erased_goes_at_once,
    test_without_a_ledger_nothing_is_done,
)
from unit.test_rights_subject import (
    test_a_call_that_is_up_is_not_erased,
    test_a_number_is_found_however_it_is_written,
    test_a_request_ends_in_erasure_and_names_nobody_any_more,
    test_nobody_but_an_officer_opens_audio,
    test_the_clock_is_one_month_and_overdue_is_loud,
    test_the_letter_is_in_the_language_asked_for,
    test_the_package_holds_everything_and_nothing_of_others,
    test_without_a_durable_event_no_audio,
)

__all__ = [
    "test_a_call_that_is_up_is_not_erased",
    "test_a_field_is_never_in_the_database_before_its_secret_is_durable",
    "test_a_hold_by_number_covers_calls_that_come_later",
    "test_a_hold_needs_something_to_hold_and_a_label_without_names",
    "test_a_number_is_found_however_it_is_written",
    "test_a_request_ends_in_erasure_and_names_nobody_any_more",
    "test_a_run_that_was_cut_short_is_finished",
    "test_a_second_run_finds_nothing_left_to_do",
    "test_each_kind_goes_on_its_own_clock",
    "test_evidence_does_not_go_by_the_shorter_clock",
    "test_nobody_but_an_officer_opens_audio",
    "test_only_an_officer_lifts",
    "test_secrets_die_before_the_rows_and_the_event",
    "test_the_callers_number_goes_when_its_evidence_is_over",
    "test_the_clock_is_one_month_and_overdue_is_loud",
    "test_the_ledger_lets_nothing_go_early",
    "test_the_letter_is_in_the_language_asked_for",
    "test_the_package_holds_everything_and_nothing_of_others",
    "test_the_plan_says_when",
    "test_what_a_withdrawal_should_have_erased_goes_at_once",
    "test_what_is_held_stays_and_is_named",
    "test_without_a_durable_event_no_audio",
    "test_without_a_ledger_nothing_is_done",
]


@pytest.fixture
def server(tmp_path: Path, cluster: Cluster) -> Server:
    made = make_server(tmp_path, database=cluster.fresh())
    text = (made.folder / "server.yaml").read_text()
    (made.folder / "server.yaml").write_text(text.replace("region: null", "region: DE"))
    return made

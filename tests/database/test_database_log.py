# SPDX-License-Identifier: GPL-3.0-or-later
"""The log by itself, as on SQLite: recovery, and the refusal to extend what does not verify."""

import pytest

from database_kit import Base
from unit.test_ledger_log import (
    test_a_call_is_read_with_what_is_known_of_persons,
    test_a_changed_log_is_not_extended,
    test_a_failed_write_leaves_the_log_as_it_was,
    test_another_schema_is_refused,
    test_nothing_is_overwritten,
    test_the_log_goes_on_after_any_end,
    test_the_log_of_another_key_is_not_extended,
    test_time_never_goes_back,
)

__all__ = [
    "test_a_call_is_read_with_what_is_known_of_persons",
    "test_a_changed_log_is_not_extended",
    "test_a_failed_write_leaves_the_log_as_it_was",
    "test_another_schema_is_refused",
    "test_nothing_is_overwritten",
    "test_the_log_goes_on_after_any_end",
    "test_the_log_of_another_key_is_not_extended",
    "test_time_never_goes_back",
]


@pytest.fixture
def home(postgres: Base) -> Base:
    return postgres

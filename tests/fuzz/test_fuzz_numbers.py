# SPDX-License-Identifier: GPL-3.0-or-later
"""Numbers as strangers send them: From headers that are no numbers, and ones made to take long."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ivr.ledger.pseudonym import NOBODY, normalised, spellings

FORMS = st.text(st.sampled_from("+0123456789 ()-./<>@;:sipteltaé\0\n")) | st.text()


@given(FORMS, st.sampled_from([None, "DE", "US"]))
def test_any_text_has_one_form_and_finds_itself(text: str, region: str | None) -> None:
    form = normalised(text, region)
    assert form in spellings(text, region) or form in NOBODY


@pytest.mark.parametrize("text", ["0" * 200_000, "sip:" + "0" * 200_000 + "@x", "+0" * 100_000, "<" * 200_000])
def test_no_number_takes_long(text: str) -> None:
    """The square of its length would outlast this test's time-out; the ledger's writer would stand still so long."""
    assert normalised(text, "DE")

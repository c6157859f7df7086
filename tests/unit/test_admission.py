# SPDX-License-Identifier: GPL-3.0-or-later
"""An INVITE flood is slowed down before it costs PJSIP its handles."""

from ivr.node.admission import BURST, RATE, Admission


def test_a_burst_is_taken_and_the_next_is_not() -> None:
    admission = Admission(100.0)
    assert [admission.admit(100.0) for _ in range(int(BURST))] == [True] * int(BURST)
    assert not admission.admit(100.0)


def test_tokens_come_back_with_time_and_not_beyond_a_burst() -> None:
    admission = Admission(0.0)
    while admission.admit(0.0):
        pass
    assert admission.admit(1 / RATE + 1e-6)
    assert not admission.admit(1 / RATE + 2e-6)
    assert sum(admission.admit(1e6) for _ in range(100)) == int(BURST)

# SPDX-License-Identifier: GPL-3.0-or-later
"""Which policies exist. One that could not be honoured cannot be built, neither from a flow nor from the log."""

from dataclasses import replace
from typing import Any

import pytest

from consent_kit import NEVER, OPT_IN, OPT_OUT, OPT_OUT_NO_WINDOW, POLICIES, REQUIRED, REQUIRED_WITH_WAY
from ivr.consent.policy import LawfulBasis, Mode, Policy, PolicyError, why_not_allowed

ALLOWED = {
    Mode.OPT_OUT: {"legitimate_interests", "contract", "legal_obligation", "public_task"},
    Mode.OPT_IN: {basis.value for basis in LawfulBasis},
    Mode.REQUIRED: {"legal_obligation"},
    Mode.NEVER: {basis.value for basis in LawfulBasis},
}


@pytest.mark.parametrize("basis", LawfulBasis)
@pytest.mark.parametrize("mode", Mode)
def test_which_mode_may_rest_on_which_basis(mode: Mode, basis: LawfulBasis) -> None:
    assert (why_not_allowed(mode, basis) is None) == (basis.value in ALLOWED[mode])


def test_silence_is_not_consent_is_said_with_its_article() -> None:
    assert "silence is not consent (GDPR Art. 4(11))" in str(why_not_allowed(Mode.OPT_OUT, LawfulBasis.CONSENT))


BROKEN: dict[str, tuple[Policy, dict[str, Any], str]] = {
    "opt-out on consent": (OPT_OUT, {"lawful_basis": LawfulBasis.CONSENT}, "silence is not consent"),
    "required on contract": (REQUIRED, {"lawful_basis": LawfulBasis.CONTRACT}, "needs legal_obligation"),
    "opt-out without a refuse key": (OPT_OUT, {"refuse_key": None}, "nobody can opt out"),
    "opt-in without an accept key": (OPT_IN, {"accept_key": None}, "silence is not consent"),
    "opt-out without a withdraw key": (OPT_OUT, {"withdraw_key": None}, "as easy to withdraw"),
    "opt-in without a withdraw key": (OPT_IN, {"withdraw_key": None}, "as easy to withdraw"),
    "opt-in without a window": (OPT_IN, {"window_ms": 0}, "time to answer"),
    "yes and no on one key": (OPT_IN, {"accept_key": "1"}, "must differ"),
    "yes and withdraw on one key": (OPT_IN, {"accept_key": "9"}, "must differ"),
    "required with a withdraw key only": (REQUIRED, {"withdraw_key": "1"}, "one key for its unrecorded way"),
    "required with a refuse key only": (REQUIRED, {"refuse_key": "1"}, "one key for its unrecorded way"),
    "refuse key that no telephone has": (OPT_OUT, {"refuse_key": "E"}, "no telephone key"),
    "refuse key of two": (OPT_OUT, {"refuse_key": "12"}, "no telephone key"),
    "accept key in lower case": (OPT_IN, {"accept_key": "a"}, "no telephone key"),
    "withdraw key empty": (OPT_OUT, {"withdraw_key": ""}, "no telephone key"),
    "endless notice": (OPT_OUT, {"notice_timeout_ms": 0}, "every wait must end"),
    "endless permit": (OPT_OUT, {"permit_timeout_ms": 0}, "every wait must end"),
    "endless start": (OPT_OUT, {"start_timeout_ms": -1}, "every wait must end"),
    "negative window": (OPT_OUT, {"window_ms": -1}, "cannot be negative"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_policy_that_could_not_be_honoured_is_refused(name: str) -> None:
    policy, changes, words = BROKEN[name]
    with pytest.raises(PolicyError, match=words.replace("(", r"\(").replace(")", r"\)")):
        replace(policy, **changes)


@pytest.mark.parametrize(
    ("policy", "needs"),
    [(OPT_OUT, True), (OPT_OUT_NO_WINDOW, True), (OPT_IN, True), (REQUIRED, False), (REQUIRED_WITH_WAY, True)],
)
def test_who_needs_a_key_that_can_be_heard(policy: Policy, needs: bool) -> None:
    assert policy.needs_key_path is needs


def test_an_accept_key_alone_needs_a_key_path() -> None:
    assert replace(REQUIRED, accept_key="2").needs_key_path


@pytest.mark.parametrize("name", POLICIES)
def test_a_policy_comes_back_from_the_log(name: str) -> None:
    assert Policy.from_json(POLICIES[name].as_json()) == POLICIES[name]


LOGGED: dict[str, tuple[dict[str, object], str]] = {
    "unknown field": ({"extra": 1}, "extra"),
    "unknown mode": ({"mode": "maybe"}, "maybe"),
    "unknown basis": ({"lawful_basis": "because"}, "because"),
    "unknown withdrawal": ({"on_withdraw": "hide"}, "hide"),
    "time as text": ({"window_ms": "3000"}, "whole number"),
    "time as truth": ({"notice_timeout_ms": True}, "whole number"),
    "time as fraction": ({"permit_timeout_ms": 0.5}, "whole number"),
    "key as number": ({"refuse_key": 1}, "key or null"),
    "what a flow could not say either": ({"refuse_key": None}, "nobody can opt out"),
}


@pytest.mark.parametrize("name", LOGGED)
def test_a_logged_policy_that_no_flow_could_state_is_refused(name: str) -> None:
    changes, words = LOGGED[name]
    with pytest.raises(PolicyError, match=words):
        Policy.from_json({**OPT_OUT.as_json(), **changes})


def test_a_logged_policy_that_leaves_a_field_out_is_refused() -> None:
    value = dict(NEVER.as_json())
    del value["window_ms"]
    with pytest.raises(PolicyError, match="window_ms"):
        Policy.from_json(value)

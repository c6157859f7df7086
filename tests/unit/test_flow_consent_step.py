# SPDX-License-Identifier: GPL-3.0-or-later
"""A consent step: which modes rest on which basis, what it enforces, and the hash under which the log names that."""

import json
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from ivr.consent.policy import LawfulBasis, Mode, OnWithdraw, Policy
from ivr.flow.consent_step import Consent
from ivr.flow.load import load_flows
from ivr.packaged import packaged

KEYS = {"opt_out": {"refuse": "9"}, "opt_in": {"accept": "1", "refuse": "9"}, "required": {"refuse": "9"}}


def settings(mode: str, basis: str, **changes: Any) -> dict[str, Any]:
    if mode == "never":
        return {"mode": mode, "lawful_basis": basis, **changes}
    return {
        "mode": mode,
        "lawful_basis": basis,
        "controller": "Example Limited",
        "purposes": ["quality", {"en": "a reason", "de": "ein Grund"}],
        "retention": "90 days",
        "storage": {"place": "Germany"},
        "access": ["supervisors"],
        "keys": KEYS[mode],
        "on_withdraw": "erase",
        **changes,
    }


ALLOWED = {
    *product(["opt_out"], ["legitimate_interests", "contract", "legal_obligation", "public_task"]),
    *product(["opt_in", "never"], [basis.value for basis in LawfulBasis]),
    ("required", "legal_obligation"),
}


@pytest.mark.parametrize(("mode", "basis"), list(product([m.value for m in Mode], [b.value for b in LawfulBasis])))
def test_the_table_of_modes_and_bases(mode: str, basis: str) -> None:
    if (mode, basis) in ALLOWED:
        assert Consent.model_validate(settings(mode, basis)).policy().mode == mode
    else:
        with pytest.raises(ValidationError):
            Consent.model_validate(settings(mode, basis))


def test_whatever_loads_is_a_policy_that_the_machine_takes() -> None:
    consent = Consent.model_validate(settings("opt_in", "consent", window="10s"))
    assert consent.policy(permit_timeout_ms=250) == Policy(
        mode=Mode.OPT_IN,
        lawful_basis=LawfulBasis.CONSENT,
        refuse_key="9",
        accept_key="1",
        withdraw_key="9",
        on_withdraw=OnWithdraw.ERASE,
        window_ms=10_000,
        permit_timeout_ms=250,
    )


@pytest.mark.parametrize(
    ("mode", "basis", "window_ms"), [("opt_out", "contract", 0), ("opt_in", "consent", 8000), ("never", "consent", 0)]
)
def test_the_default_window(mode: str, basis: str, window_ms: int) -> None:
    assert Consent.model_validate(settings(mode, basis)).policy().window_ms == window_ms


def test_a_withdraw_key_of_its_own() -> None:
    consent = Consent.model_validate(settings("opt_out", "contract", keys={"refuse": "1", "withdraw": "9"}))
    assert (consent.withdraw_key, consent.live_keys) == ("9", frozenset({"1", "9"}))


def test_the_policy_in_json_is_canonical_and_whole() -> None:
    consent = Consent.model_validate(settings("opt_out", "contract"))
    text = consent.policy_json()
    assert text == json.dumps(json.loads(text), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert json.loads(text) == {
        "v": 1,
        "mode": "opt_out",
        "lawful_basis": "contract",
        "controller": {"*": "Example Limited"},
        "purposes": ["quality", {"de": "ein Grund", "en": "a reason"}],
        "retention": "90 days",
        "retention_days": 90,
        "storage_place": {"*": "Germany"},
        "access": ["supervisors"],
        "refuse_key": "9",
        "accept_key": None,
        "withdraw_key": "9",
        "on_withdraw": "erase",
        "window_ms": 0,
    }


@pytest.mark.parametrize(
    "change",
    [
        {"controller": "Another Limited"},
        {"purposes": ["quality"]},
        {"retention": "91 days"},
        {"storage": {"place": "France"}},
        {"access": ["legal"]},
        {"keys": {"refuse": "8"}},
        {"keys": {"refuse": "9", "withdraw": "8"}},
        {"window": "1s"},
        {"on_withdraw": "keep"},
        {"lawful_basis": "public_task"},
    ],
    ids=str,
)
def test_every_setting_is_in_the_hash(change: dict[str, Any]) -> None:
    before = Consent.model_validate(settings("opt_out", "contract")).policy_hash
    after = Consent.model_validate(settings("opt_out", "contract", **change)).policy_hash
    assert before.startswith("sha256:")
    assert len(before) == 71
    assert before != after


def test_the_hash_does_not_depend_on_the_file_or_its_place(tmp_path: Path) -> None:
    text = (packaged("config") / "flows" / "survey.yaml").read_text()
    (tmp_path / "moved.yaml").write_text("# moved\n\n" + text)
    here, there = (
        flows.named("survey").sections["main"][0]
        for flows in (load_flows([packaged("config") / "flows"]), load_flows([tmp_path]))
    )
    assert isinstance(here, Consent)
    assert isinstance(there, Consent)
    assert here.policy_hash == there.policy_hash

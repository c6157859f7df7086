# SPDX-License-Identifier: GPL-3.0-or-later
"""The `consent` verb: what the notice says and what is enforced are the same settings."""

import hashlib
import json
from typing import Self

from pydantic import model_validator

from ivr.consent.policy import LawfulBasis, Mode, OnWithdraw, Policy, why_not_allowed
from ivr.flow.duration import Duration, Period
from ivr.flow.spoken import Notice
from ivr.flow.values import Key, LocalText, Term
from ivr.flow.yamlfile import Node, Rules, first_sentence

OPT_IN_WINDOW = Duration(8_000)
LEAST_OPT_IN_WINDOW = Duration(3_000)
LONGEST_WINDOW = Duration(60_000)


class Keys(Node):
    """The telephone keys of a consent step, in quotes."""

    refuse: Key | None = None
    """Pressed before a decision: the call is not recorded. Required in opt_out; the unrecorded way of required."""
    accept: Key | None = None
    """Pressed before a decision: the call is recorded. Required in opt_in, in no other mode."""
    withdraw: Key | None = None
    """Pressed during the bridged call by either party: the recording stops. Default: the refuse key."""


class Storage(Node):
    """Where recordings are kept."""

    place: LocalText
    """The place as the notice says it, such as Germany: text, or a mapping of language to text."""


class Consent(Node):
    """Says the recording notice, hears the keys, and decides whether this call may be recorded."""

    mode: Mode
    """When the call is recorded: opt_out, opt_in, required or never. There is no default."""
    lawful_basis: LawfulBasis
    """The basis in GDPR Art. 6(1) that the controller relies on. There is no default."""
    controller: LocalText | None = None
    """Who is responsible, as the notice says it. Required unless mode is never."""
    purposes: tuple[Term, ...] = ()
    """What recordings are used for: names that the templates know, or phrases by language. Required unless never."""
    retention: Period | None = None
    """How long recordings are kept, such as 90 days. Required unless mode is never."""
    storage: Storage | None = None
    """Where recordings are kept. Required unless mode is never."""
    access: tuple[Term, ...] = ()
    """Who may listen: names that the templates know, or phrases by language. Required unless never."""
    keys: Keys = Keys()
    """The telephone keys; which ones depends on the mode."""
    window: Duration | None = None
    """How long after the notice's end a decision is waited for. Default: 8s in opt_in (at least 3s), else 0s."""
    on_withdraw: OnWithdraw | None = None
    """After a withdrawal, keep or erase what was recorded before it. Required where a key withdraws."""
    notice: Notice | None = None
    """A recorded notice in place of the generated one: file and transcript, or a mapping of language to these."""

    @model_validator(mode="after")
    def _rules(self) -> Self:
        rules = Rules()
        reason = why_not_allowed(self.mode, self.lawful_basis)
        if reason:
            at = "lawful_basis" if self.lawful_basis is LawfulBasis.CONSENT else "mode"
            rules.refuse(at, f"mode {self.mode} with lawful_basis {self.lawful_basis}: {reason}")
        if self.mode is Mode.NEVER:
            self._check_never(rules)
        else:
            self._check_said(rules)
            self._check_keys(rules)
            self._check_window(rules)
        rules.done("Consent")
        return self

    def _check_never(self, rules: Rules) -> None:
        for name in sorted(self.model_fields_set - {"mode", "lawful_basis"}):
            rules.refuse(name, f"mode never records nothing, so `{name}` would promise what is not done", "no such key")

    def _check_said(self, rules: Rules) -> None:
        for name in ("controller", "purposes", "retention", "storage", "access"):
            if not getattr(self, name):
                what = f"`{name}` is missing: the notice says it and the server enforces it"
                rules.refuse(name, what, first_sentence(type(self).model_fields[name].description or ""))
        for name in ("purposes", "access"):
            terms: tuple[Term, ...] = getattr(self, name)
            for index, term in enumerate(terms):
                if term in terms[:index]:
                    rules.refuse((name, index), f"{term.name or 'a phrase'!r} is listed twice", "each one once")

    def _check_keys(self, rules: Rules) -> None:
        keys, mode = self.keys, self.mode
        if mode is Mode.OPT_OUT and keys.refuse is None:
            rules.refuse("keys", "mode opt_out without a refuse key: nobody could opt out", 'keys: {refuse: "9"}')
        if mode is Mode.OPT_IN:
            if keys.accept is None:
                rules.refuse("keys", "mode opt_in without an accept key: silence is not consent", 'keys: {accept: "1"}')
            if self.withdraw_key is None:
                what = "mode opt_in without a withdraw key: withdrawing must be as easy as agreeing (GDPR Art. 7(3))"
                rules.refuse("keys", what, 'withdraw or refuse beside accept: {accept: "1", withdraw: "9"}')
        elif keys.accept is not None:
            rules.refuse(("keys", "accept"), f"mode {mode} has nothing to accept", "no accept key")
        for name in ("refuse", "withdraw"):
            if keys.accept is not None and getattr(keys, name) == keys.accept:
                rules.refuse(("keys", name), f"{name} and accept are both {keys.accept!r}", "two different keys")
        if mode is Mode.REQUIRED and self.withdraw_key != keys.refuse:
            what = "mode required has one key for its unrecorded way, or none"
            rules.refuse(("keys", "withdraw"), what, "the refuse key, or no withdraw key")
        if self.withdraw_key is not None and self.on_withdraw is None:
            what = "`on_withdraw` is missing: what becomes of what was recorded before a withdrawal"
            rules.refuse("on_withdraw", what, "keep or erase")
        if self.withdraw_key is None and self.on_withdraw is not None:
            rules.refuse(
                "on_withdraw", "`on_withdraw` without a key that withdraws", "a withdraw key, or no on_withdraw"
            )

    def _check_window(self, rules: Rules) -> None:
        if self.mode is Mode.OPT_IN and self.window_after_notice < LEAST_OPT_IN_WINDOW:
            what = f"a window of {self.window} leaves no time to answer"
            rules.refuse("window", what, f"at least {LEAST_OPT_IN_WINDOW}")
        if self.window_after_notice > LONGEST_WINDOW:
            rules.refuse(
                "window", f"a window of {self.window} leaves the caller in silence", f"at most {LONGEST_WINDOW}"
            )

    @property
    def withdraw_key(self) -> str | None:
        """The key that withdraws during the call: `withdraw`, else `refuse`."""
        return self.keys.withdraw if self.keys.withdraw is not None else self.keys.refuse

    @property
    def live_keys(self) -> frozenset[str]:
        """The keys that mean something to the consent machine after the notice; no menu may use them."""
        return frozenset(key for key in (self.keys.refuse, self.withdraw_key) if key is not None)

    @property
    def window_after_notice(self) -> Duration:
        if self.window is not None:
            return self.window
        return OPT_IN_WINDOW if self.mode is Mode.OPT_IN else Duration(0)

    @property
    def retention_days(self) -> int | None:
        return self.retention.days if self.retention else None

    def policy(self, *, permit_timeout_ms: int = 500) -> Policy:
        """The machine's part of these settings."""
        return Policy(
            mode=self.mode,
            lawful_basis=self.lawful_basis,
            refuse_key=self.keys.refuse,
            accept_key=self.keys.accept,
            withdraw_key=self.withdraw_key,
            on_withdraw=self.on_withdraw or OnWithdraw.KEEP,
            window_ms=self.window_after_notice.ms,
            permit_timeout_ms=permit_timeout_ms,
        )

    def settings(self) -> dict[str, object]:
        """Everything this step enforces, as JSON of text, integers, null, lists and mappings."""
        return {
            "v": 1,
            "mode": self.mode.value,
            "lawful_basis": self.lawful_basis.value,
            "controller": self.controller.as_json() if self.controller else None,
            "purposes": [term.as_json() for term in self.purposes],
            "retention": str(self.retention) if self.retention else None,
            "retention_days": self.retention_days,
            "storage_place": self.storage.place.as_json() if self.storage else None,
            "access": [term.as_json() for term in self.access],
            "refuse_key": self.keys.refuse,
            "accept_key": self.keys.accept,
            "withdraw_key": self.withdraw_key,
            "on_withdraw": self.on_withdraw.value if self.on_withdraw else None,
            "window_ms": self.window_after_notice.ms,
        }

    def policy_json(self) -> str:
        """`settings` in RFC 8785 form (no floats, ASCII keys, so sorted and compact JSON is canonical)."""
        return json.dumps(self.settings(), sort_keys=True, separators=(",", ":"), ensure_ascii=False)

    @property
    def policy_hash(self) -> str:
        """`sha256:` and the hex digest of `policy_json` in UTF-8, as events name the policy."""
        return "sha256:" + hashlib.sha256(self.policy_json().encode()).hexdigest()

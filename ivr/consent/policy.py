# SPDX-License-Identifier: GPL-3.0-or-later
"""What a flow's consent step enforces: mode, lawful basis, keys, times. PRODUCT.md, 'Consent in a flow'."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Self


class Mode(StrEnum):
    """When a call is recorded."""

    OPT_OUT = "opt_out"
    OPT_IN = "opt_in"
    REQUIRED = "required"
    NEVER = "never"


class LawfulBasis(StrEnum):
    """GDPR Art. 6(1), in the words of draft-howe-vcon-lawful-basis."""

    CONSENT = "consent"
    CONTRACT = "contract"
    LEGAL_OBLIGATION = "legal_obligation"
    VITAL_INTERESTS = "vital_interests"
    PUBLIC_TASK = "public_task"
    LEGITIMATE_INTERESTS = "legitimate_interests"


class OnWithdraw(StrEnum):
    """What becomes of the audio that was recorded before a withdrawal."""

    KEEP = "keep"
    ERASE = "erase"


_ALLOWED: dict[Mode, frozenset[LawfulBasis]] = {
    Mode.OPT_OUT: frozenset(
        {
            LawfulBasis.LEGITIMATE_INTERESTS,
            LawfulBasis.CONTRACT,
            LawfulBasis.LEGAL_OBLIGATION,
            LawfulBasis.PUBLIC_TASK,
        }
    ),
    Mode.OPT_IN: frozenset(LawfulBasis),
    Mode.REQUIRED: frozenset({LawfulBasis.LEGAL_OBLIGATION}),
    Mode.NEVER: frozenset(LawfulBasis),
}

KEYS = frozenset("0123456789*#ABCD")


class PolicyError(ValueError):
    """The settings of a consent step contradict each other or the law they name."""


def why_not_allowed(mode: Mode, basis: LawfulBasis) -> str | None:
    """The reason why this mode cannot rest on this lawful basis, or None when it can."""
    if basis in _ALLOWED[mode]:
        return None
    allowed = ", ".join(sorted(b.value for b in _ALLOWED[mode]))
    if mode is Mode.OPT_OUT and basis is LawfulBasis.CONSENT:
        return f"silence is not consent (GDPR Art. 4(11)): use mode opt_in, or a lawful basis of {allowed}"
    return f"mode {mode.value} cannot rest on {basis.value}: it needs {allowed}"


@dataclass(frozen=True, slots=True)
class Policy:
    """One consent step as enforced. Times in ms. Construction refuses a policy that could not be honoured."""

    mode: Mode
    lawful_basis: LawfulBasis
    refuse_key: str | None = None
    accept_key: str | None = None
    withdraw_key: str | None = None
    on_withdraw: OnWithdraw = OnWithdraw.KEEP
    window_ms: int = 0
    """How long after the notice's last sample a decision is waited for before silence decides."""
    notice_timeout_ms: int = 120_000
    permit_timeout_ms: int = 500
    start_timeout_ms: int = 2_000

    def __post_init__(self) -> None:
        reason = why_not_allowed(self.mode, self.lawful_basis)
        if reason:
            raise PolicyError(reason)
        for name in ("refuse_key", "accept_key", "withdraw_key"):
            key = getattr(self, name)
            if key is not None and key not in KEYS:
                raise PolicyError(f"{name} {key!r} is no telephone key: one of 0-9 * # A-D")
        if self.mode is Mode.OPT_OUT and self.refuse_key is None:
            raise PolicyError("mode opt_out needs a refuse key: without it nobody can opt out")
        if self.mode is Mode.OPT_IN and self.accept_key is None:
            raise PolicyError("mode opt_in needs an accept key: silence is not consent")
        if self.mode in (Mode.OPT_OUT, Mode.OPT_IN) and self.withdraw_key is None:
            raise PolicyError(f"mode {self.mode.value} needs a withdraw key: it must be as easy to withdraw")
        if self.accept_key is not None and self.accept_key in (self.refuse_key, self.withdraw_key):
            raise PolicyError("the accept key must differ from the refuse and withdraw keys")
        if self.mode is Mode.REQUIRED and self.withdraw_key != self.refuse_key:
            raise PolicyError("mode required has one key for its unrecorded way, or none")
        for name in ("notice_timeout_ms", "permit_timeout_ms", "start_timeout_ms"):
            if getattr(self, name) <= 0:
                raise PolicyError(f"{name} must be above 0: every wait must end")
        if self.window_ms < 0:
            raise PolicyError("window_ms cannot be negative")
        if self.mode is Mode.OPT_IN and self.window_ms <= 0:
            raise PolicyError("mode opt_in needs a window above 0: a caller must have time to answer")

    @property
    def needs_key_path(self) -> bool:
        """Whether recording depends on a key that must be hearable (promise 5)."""
        return self.refuse_key is not None or self.accept_key is not None

    def as_json(self) -> dict[str, str | int | None]:
        """The policy as it is written to the log and hashed: text, integers and null only."""
        return {
            "mode": self.mode.value,
            "lawful_basis": self.lawful_basis.value,
            "refuse_key": self.refuse_key,
            "accept_key": self.accept_key,
            "withdraw_key": self.withdraw_key,
            "on_withdraw": self.on_withdraw.value,
            "window_ms": self.window_ms,
            "notice_timeout_ms": self.notice_timeout_ms,
            "permit_timeout_ms": self.permit_timeout_ms,
            "start_timeout_ms": self.start_timeout_ms,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, object]) -> Self:
        """The policy back from the log. Raises PolicyError for anything that `as_json` would not write."""
        known = set(cls.__dataclass_fields__)
        if set(value) != known:
            raise PolicyError(f"not a policy: {sorted(set(value) ^ known)} missing or unknown")
        fields = dict(value)
        try:
            fields["mode"] = Mode(str(fields["mode"]))
            fields["lawful_basis"] = LawfulBasis(str(fields["lawful_basis"]))
            fields["on_withdraw"] = OnWithdraw(str(fields["on_withdraw"]))
        except ValueError as error:
            raise PolicyError(str(error)) from error
        for name, item in fields.items():
            if name.endswith("_ms") and (not isinstance(item, int) or isinstance(item, bool)):
                raise PolicyError(f"{name} must be a whole number of milliseconds, not {item!r}")
            if name.endswith("_key") and item is not None and not isinstance(item, str):
                raise PolicyError(f"{name} must be a key or null, not {item!r}")
        return cls(**fields)  # type: ignore[arg-type]

# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may do what: operator, auditor, officer. The list of public keys is a file; the ledger checks every signature.

A person has one secret: an age identity. It opens what is sealed to its recipient, and the Ed25519 key made from it
signs what the person asks of the ledger. Only an officer's recipient belongs in recipients.txt, so only an officer's
identity opens audio; here it is decided who may be on record as having done it.
"""

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ivr.ledger import canonical
from ivr.ledger.errors import LedgerMissing, LedgerRefused
from ivr.ledger.note import NoteError, VKey, is_key_name
from ivr.ledger.signature import verify_ed25519

FORBIDDEN = "forbidden"
"""Code of a refusal: nobody signed it, or somebody who may not."""

PEOPLE_HEAD = "# role (operator, auditor, officer), verifier key, age recipient; written by `ivr access`\n"
"""First line of people.txt."""

_CONTEXT = b"assent tool v1\n"


class Role(StrEnum):
    """What a person is to this server."""

    OPERATOR = "operator"
    """Runs the server: takes requests in and places holds; hears nothing, erases nothing."""
    AUDITOR = "auditor"
    """Checks the log, which needs the public key only; changes nothing and hears nothing."""
    OFFICER = "officer"
    """Data protection: opens recordings, answers requests, erases, lifts holds."""


GRANTS: Mapping[str, frozenset[Role]] = {
    "recording.accessed": frozenset({Role.OFFICER}),
    "recording.exported": frozenset({Role.OFFICER}),
    "hold.placed": frozenset({Role.OPERATOR, Role.OFFICER}),
    "hold.lifted": frozenset({Role.OFFICER}),
    "subject.request.opened": frozenset({Role.OPERATOR, Role.OFFICER}),
    "subject.request.packaged": frozenset({Role.OFFICER}),
    "subject.request.closed": frozenset({Role.OFFICER}),
    "subject.erased": frozenset({Role.OFFICER}),
    "reference.tried": frozenset({Role.OPERATOR, Role.OFFICER}),
    "subject.find": frozenset({Role.OPERATOR, Role.OFFICER}),
}
"""What only a person may cause, and who: events, and the search for a number.

The ledger refuses them without that person's signature.
"""


@dataclass(frozen=True, slots=True)
class Person:
    """One line of people.txt: role, name and keys. `recipient` is an age public key."""

    name: str
    role: Role
    vkey: VKey
    recipient: str

    def line(self) -> str:
        """As it stands in the file."""
        return f"{self.role} {self.vkey} {self.recipient}"


def signing_key(identity: str) -> Ed25519PrivateKey:
    """The signing key of an age identity (`AGE-SECRET-KEY-1…`)."""
    seed = hmac.new(b"assent: signing key of an age identity", identity.strip().upper().encode(), sha256).digest()
    return Ed25519PrivateKey.from_private_bytes(seed)


def person_of(name: str, role: Role, identity: str, recipient: str) -> Person:
    """The public half of somebody. Raises NoteError for a name that is none."""
    if not is_key_name(name):
        raise NoteError(f"{name!r} is no name: no spaces and no +")
    return Person(name, role, VKey(name, signing_key(identity).public_key().public_bytes_raw()), recipient)


def load_people(path: Path) -> tuple[Person, ...]:
    """Everybody in people.txt. Raises LedgerMissing with the line that is wrong."""
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise LedgerMissing(f"{path} cannot be read ({error}); people are added with: ivr access add") from None
    people: list[Person] = []
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        try:
            role, vkey, recipient = line.split()
            key = VKey.parse(vkey)
            people.append(Person(key.name, Role(role), key, recipient))
        except (ValueError, NoteError) as error:
            raise LedgerMissing(f"{path}:{number}: expected `role vkey recipient`: {error}") from None
        if people[-1].name in {person.name for person in people[:-1]}:
            raise LedgerMissing(f"{path}:{number}: {people[-1].name} is there twice")
    return tuple(people)


def signed_part(message: Mapping[str, Any]) -> bytes:
    """What a person signs of a message to the ledger. The id makes every message another one. Raises CanonicalError."""
    names = ("op", "id", "type", "call", "data", "personal", "fields", "by", "value", "subject")
    return _CONTEXT + canonical.dumps({name: message[name] for name in names if message.get(name) is not None})


def sign_message(message: dict[str, Any], name: str, key: Ed25519PrivateKey) -> None:
    """Adds `auth` to a message."""
    signature = canonical.b64url(key.sign(signed_part(message))).decode()
    message["auth"] = {"who": name, "sig": signature}


def authorise(kind: str, message: Mapping[str, Any], people: Sequence[Person]) -> Person | None:
    """Who asks for this; None for an event that needs nobody. Raises LedgerRefused."""
    granted = GRANTS.get(kind)
    if granted is None:
        return None
    auth = message.get("auth")
    name = auth.get("who") if isinstance(auth, dict) else None
    person = next((person for person in people if person.name == name), None)
    if not isinstance(auth, dict) or person is None:
        raise LedgerRefused(FORBIDDEN, f"{kind}: nobody of people.txt signed it ({', '.join(sorted(granted))} may)")
    try:
        signature = canonical.unb64url(str(auth.get("sig")).encode())
        good = verify_ed25519(signature, signed_part(message), person.vkey.public)
    except canonical.CanonicalError:
        good = False
    if not good:
        raise LedgerRefused(FORBIDDEN, f"{kind}: the signature is not that of {person.name}")
    if person.role not in granted:
        raise LedgerRefused(
            FORBIDDEN, f"{kind}: {person.name} is {person.role}; only {' or '.join(sorted(granted))} may do this"
        )
    if (message.get("personal") or {}).get("who", person.name) != person.name:
        raise LedgerRefused(FORBIDDEN, f"{kind}: signed by {person.name} in the name of somebody else")
    return person

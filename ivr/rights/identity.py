# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is asking: an age identity file, matched with people.txt. What the person may do, the ledger decides again."""

import os
from dataclasses import dataclass
from pathlib import Path

from pyrage import x25519

from ivr.ledger.keys import write_secret
from ivr.ledger.people import GRANTS, PEOPLE_HEAD, Person, Role, load_people, person_of, signing_key
from ivr.ledger.tool import Signer
from ivr.rights.errors import NotAllowed, RightsError
from ivr.vault.durable import write_durably
from ivr.vault.sealing import load_identities, load_recipients


@dataclass(frozen=True, slots=True)
class Known:
    """A person with the secret that proves it. `identities` open what is sealed to them."""

    person: Person
    signer: Signer
    identities: tuple[x25519.Identity, ...]

    def must(self, kind: str) -> None:
        """Raises NotAllowed early, with the reason that the ledger would give."""
        granted = GRANTS[kind]
        if self.person.role not in granted:
            who = f"{self.person.name} is {self.person.role}"
            raise NotAllowed(f"{kind}: {who}; only {' or '.join(sorted(granted))} may do this. Nothing was opened")


def identify(identity: Path, people: Path) -> Known:
    """Whose identity file this is. Raises NotAllowed for one that people.txt does not have, KeyFileError."""
    identities = load_identities(identity)
    known = {person.recipient: person for person in load_people(people)}
    for one in identities:
        person = known.get(str(one.to_public()))
        if person is not None:
            return Known(person, Signer(person.name, signing_key(str(one))), tuple(identities))
    raise NotAllowed(f"{identity} belongs to nobody in {people}; people are added with: ivr access add")


def add_person(people: Path, name: str, role: Role, identity: Path) -> Person:
    """Add somebody to people.txt; `identity` is read when it is there, else made (0600). Raises RightsError."""
    # The first one of a server whose file is gone, or that was made by an earlier release.
    everybody = load_people(people) if people.exists() else ()
    if any(person.name == name for person in everybody):
        raise RightsError(f"{name} is in {people} already; remove them first")
    if not identity.exists():
        secret = x25519.Identity.generate()
        text = f"# {role} {name}; keep it private\n# public key: {secret.to_public()}\n{secret}\n"
        write_secret(identity, text.encode())
    secret = load_identities(identity)[0]
    person = person_of(name, role, str(secret), str(secret.to_public()))
    if any(other.recipient == person.recipient for other in everybody):
        raise RightsError(f"{identity} is somebody else's already: every person has an identity of their own")
    _write(people, (*everybody, person))
    return person


def remove_person(people: Path, name: str) -> Person:
    """Take somebody out of people.txt. Raises RightsError."""
    everybody = load_people(people)
    gone = next((person for person in everybody if person.name == name), None)
    if gone is None:
        raise RightsError(f"nobody in {people} is called {name!r}; `ivr access list` shows them")
    _write(people, tuple(person for person in everybody if person is not gone))
    return gone


def strange_recipients(people: Path, recipients: Path) -> list[str]:
    """Keys that can open recordings and are no officer's: nobody would be on record for using them."""
    officers = {person.recipient for person in load_people(people) if person.role is Role.OFFICER}
    return [key for key in load_recipients(recipients).keys if key not in officers]


def _write(path: Path, everybody: tuple[Person, ...]) -> None:
    mode = path.stat().st_mode & 0o777 if path.exists() else 0o644
    text = PEOPLE_HEAD + "".join(f"{person.line()}\n" for person in everybody)
    write_durably(path, text.encode(), replace=True)
    os.chmod(path, mode)

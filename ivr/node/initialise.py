# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes a server's folder: keys, log, vault and example configuration. Never overwrites anything."""

import json
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from pyrage import x25519

from ivr.ledger.database import Postgres
from ivr.ledger.keys import LedgerKey, create_keys, load_pseudonym_key, write_new, write_secret
from ivr.ledger.log import Log
from ivr.ledger.people import PEOPLE_HEAD, Role, person_of
from ivr.node.settings import FILE, Settings
from ivr.packaged import packaged
from ivr.vault.durable import sync_folder

OFFICER = "officer.age"


class InitError(Exception):
    """The folder cannot be initialised; nothing in it was changed."""


@dataclass(frozen=True, slots=True)
class Initialised:
    """What was made. `officer` is the identity that opens recordings and belongs on another machine."""

    folder: Path
    vkey: str
    officer: Path
    recipient: str


def initialise(folder: Path, origin: str, database: Postgres | None = None) -> Initialised:
    """Creates everything `ivr serve` needs. Raises InitError when something of it is there already, or LedgerMissing.

    The log is a file of the folder, or a schema of its own in `database`. The folder is made beside the final place and
    moved there whole, so that a crash leaves no half of it. What is returned is on the disk: the verifier key that is
    printed and handed to an auditor must not outlive its log in a power cut.
    """
    folder = folder.absolute()
    if folder.exists() and any(folder.iterdir()):
        raise InitError(f"{folder} is not empty: nothing was changed. Name another folder, or move this one away")
    above = [parent for parent in folder.parents if not parent.exists()]
    folder.parent.mkdir(parents=True, exist_ok=True)
    _clear_half_made(folder)
    building = folder.parent / f".{folder.name}.init-{os.getpid()}"
    building.mkdir(mode=0o750)
    try:
        made = _build(building, folder, origin, database)
        _sync_all(building)
        if folder.exists():
            folder.rmdir()
        building.rename(folder)
        for parent in (folder.parent, *(made_too.parent for made_too in above)):
            sync_folder(parent)
    except BaseException:
        shutil.rmtree(building, ignore_errors=True)
        raise
    return made


def _clear_half_made(folder: Path) -> None:
    """Removes what an `ivr init` that was killed left beside the folder: secret keys that nothing ever used."""
    for left in folder.parent.glob(f".{folder.name}.init-*"):
        if not Path("/proc", left.name.rpartition("-")[2]).exists():
            shutil.rmtree(left, ignore_errors=True)


def _build(building: Path, folder: Path, origin: str, database: Postgres | None) -> Initialised:
    examples = packaged("config")
    shutil.copyfile(examples / "server.yaml", building / FILE)
    if database is not None:
        _name_database(building / FILE, database)
    shutil.copytree(examples / "flows", building / "flows")
    for name in (
        "keys",
        "data",
        "data/recordings",
        "data/keystore",
        "data/subjects",
        "cache",
        "cache/prompts",
        "run",
        "run/pool",
    ):
        (building / name).mkdir(mode=0o700)
    key = create_keys(building / "keys", origin)
    recipient = _officer(building / "keys")
    settings = Settings.load(building)
    _create_log(settings, key)
    return Initialised(folder, str(key.vkey), folder / "keys" / OFFICER, recipient)


def _name_database(file: Path, database: Postgres) -> None:
    text = file.read_text("utf-8")
    line = f"\n  database: {json.dumps(database.url)}\n"
    changed = re.sub(r"\n  database: data/log\.sqlite[^\n]*\n", lambda _: line, text, count=1)
    if changed == text:
        raise InitError(f"the shipped {FILE} names no database that could be replaced")
    file.write_text(changed, "utf-8")


def _sync_all(folder: Path) -> None:
    """Files before the folders that name them."""
    for place, _, files in os.walk(folder, topdown=False):
        for name in files:
            handle = os.open(Path(place) / name, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
        sync_folder(Path(place))


def _officer(keys: Path) -> str:
    identity = x25519.Identity.generate()
    recipient = str(identity.to_public())
    text = f"# opens every recording; keep it on another machine\n# public key: {recipient}\n{identity}\n"
    write_secret(keys / OFFICER, text.encode())
    write_new(keys / "recipients.txt", f"# who can open recordings: age recipients\n{recipient}\n".encode(), 0o644)
    person = person_of("officer", Role.OFFICER, str(identity), recipient)
    write_new(keys / "people.txt", f"{PEOPLE_HEAD}{person.line()}\n".encode(), 0o644)
    return recipient


def _create_log(settings: Settings, key: LedgerKey) -> None:
    pseudonym_key = load_pseudonym_key(settings.keys.pseudonym.parent)
    Log.create(settings.storage.database, key, pseudonym_key, settings.personal).close()

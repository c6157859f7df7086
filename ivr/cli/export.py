# SPDX-License-Identifier: GPL-3.0-or-later
"""`ivr call export` and `ivr call report`: one call for somebody else. Opening audio is an event that comes first."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import click

from ivr.audit.source import LogSource, SourceError
from ivr.cli.exits import Exit
from ivr.cli.log import config_option, db_option, log_reader, read_vkey
from ivr.export import dpv, report, vcon
from ivr.export.errors import ExportError, NotTrusted
from ivr.export.facts import Facts, Known, Recorded, gather
from ivr.export.jws import VconSigner
from ivr.export.pdf import pdf
from ivr.export.proof import Proof, proofs
from ivr.export.stretches import lanes
from ivr.export.waveform import Envelope, Waveform
from ivr.export.words import LANGUAGES
from ivr.flow.consent_step import Consent
from ivr.flow.place import FileError
from ivr.flow.prompts import needed_prompts
from ivr.ledger.database import Database
from ivr.ledger.errors import LedgerError
from ivr.ledger.event import EventError
from ivr.ledger.keyring import KeyRing
from ivr.ledger.note import NoteError
from ivr.ledger.tool import LedgerTool
from ivr.node.archive import vault_of
from ivr.node.load import load
from ivr.node.settings import Settings
from ivr.rights.announce import announce
from ivr.rights.errors import RightsError
from ivr.rights.identity import identify
from ivr.vault.durable import write_durably
from ivr.vault.errors import Damaged, VaultError
from ivr.vault.export import wav
from ivr.vault.open import OpenRecording
from media.cache import text_sha256

_File = click.Path(exists=True, dir_okay=False, path_type=Path)
_identity = click.option(
    "--identity", type=_File, metavar="FILE", help="The officer's age identity: also open the recordings."
)
_reason = click.option(
    "--reason", metavar="TEXT", help="Why recordings are opened; needed with --identity, kept for ever, so name nobody."
)
_vkey = click.option("--vkey", metavar="KEY", help="Verifier key, or a file with it; needed with --db.")
_personal = click.option("--with-personal", is_flag=True, help="Also numbers and addresses, where they are still kept.")
_force = click.option("--force", is_flag=True, help="Replace the output file when it is there.")


@dataclass(frozen=True, slots=True)
class _Asked:
    """What both commands are asked for."""

    folder: Path
    db: Database | None
    vkey: str | None
    identity: Path | None
    reason: str | None
    with_personal: bool

    def check(self) -> None:
        """Raises ExportError for what does not go together."""
        if self.identity is not None and not (self.reason or "").strip():
            raise ExportError("--identity needs --reason: who opened a recording, and why, is kept in the log")
        if self.identity is not None and self.db is not None:
            raise ExportError("a copied database has no recordings", todo="use --config, or leave --identity out")
        if self.db is not None and self.vkey is None:
            raise ExportError("--db needs --vkey", todo="the key that you were given, not one that came with the log")

    @property
    def database(self) -> Database:
        return self.db or Settings.load(self.folder).storage.database

    @property
    def keys(self) -> KeyRing:
        if self.vkey is not None:
            path = Path(self.vkey)
            return KeyRing.read(path) if len(self.vkey) < 256 and path.is_file() else KeyRing((read_vkey(self.vkey),))
        return KeyRing.read(Settings.load(self.folder).keys.ledger_public)


@click.command("export")
@click.argument("call_id", metavar="ID")
@click.option("--format", "form", type=click.Choice(["vcon", "dpv"]), required=True, help="What to write.")
@click.option(
    "--output", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="The file (default: stdout)."
)
@_identity
@_reason
@_personal
@click.option(
    "--vcon-version",
    type=click.Choice([v.value for v in vcon.Version]),
    default=vcon.Version.V0_4_0.value,
    show_default=True,
    help="vcon: the draft to follow.",
)
@click.option("--sign-key", type=_File, metavar="FILE", help="RSA key (PEM): give the vCon as a signed JWS.")
@click.option("--sign-cert", type=_File, metavar="FILE", help="The key's X.509 certificates (PEM), its own first.")
@click.option("--address", default=dpv.UNKNOWN, metavar="TEXT", help="dpv: postal address of the controller.")
@click.option("--contact", default=dpv.UNKNOWN, metavar="TEXT", help="dpv: how to reach the controller.")
@click.option("--jurisdiction", default="EU", show_default=True, metavar="CODE", help="dpv: ISO 3166 code, or EU.")
@_force
@config_option
@db_option
@_vkey
def export_call(
    call_id: str, form: str, output: Path | None, identity: Path | None, reason: str | None, with_personal: bool,
    vcon_version: str, sign_key: Path | None, sign_cert: Path | None, address: str, contact: str, jurisdiction: str,
    force: bool, folder: Path, db: Database | None, vkey: str | None,
) -> None:  # fmt: skip
    """Give one call to another program: a vCon with its lawful basis, or a consent record (ISO/IEC TS 27560, DPV).

    With --identity the vCon holds the recordings in clear. That is logged before one is opened, and needs the running
    server.
    """
    with told():
        asked = _Asked(folder, db, vkey, identity, reason, with_personal)
        signer = _signer(sign_key, sign_cert)
        facts, found = _facts(asked, call_id)
        _must_replay(facts)
        if form == "dpv":
            value = dpv.build(facts, found, dpv.Controller(address, contact, f"loc:{jurisdiction}"))
        else:
            options = vcon.Options(vcon.Version(vcon_version), _audio(asked, facts))
            value = vcon.build(facts, found, options)
            value = signer.sign(value) if signer else value
        _deliver(json.dumps(value, ensure_ascii=False, indent=2).encode() + b"\n", output, force)


@click.command("report")
@click.argument("call_id", metavar="ID")
@click.option(
    "--format", "form", type=click.Choice(["html", "pdf"]), default="html", show_default=True, help="What to write."
)
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    required=True,
    help="The file to write.",
)
@click.option(
    "--language", type=click.Choice(sorted(LANGUAGES)), default="en", show_default=True, help="Language of the report."
)
@_identity
@_reason
@_personal
@_force
@config_option
@db_option
@_vkey
def report_call(
    call_id: str, form: str, output: Path, language: str, identity: Path | None, reason: str | None,
    with_personal: bool, force: bool, folder: Path, db: Database | None, vkey: str | None,
) -> None:  # fmt: skip
    """Write a report that a person can hand over: what was said, decided and recorded, why, and how to check it.

    One file that loads nothing. With --identity it shows the sound of both parties; that is logged first. Exit code 1
    when what was decided does not follow from what was logged: the report is written, and says so.
    """
    with told():
        asked = _Asked(folder, db, vkey, identity, reason, with_personal)
        facts, found = _facts(asked, call_id)
        drawn = lanes(facts)
        keys = [str(key) for key in asked.keys.keys]
        page = report.html(report.Report(facts, found, drawn, _waveform(asked, facts, drawn.end_ms), keys, language))
        _deliver(page.encode() if form == "html" else pdf(page), output, force)
    if not facts.replay.holds:
        click.echo("the decisions in the log do not follow from what was logged; the report says so", err=True)
        raise click.exceptions.Exit(Exit.CHECK_FAILED)


class _DoesNotHold(click.ClickException):
    exit_code = int(Exit.CHECK_FAILED)


class _CouldNotRun(click.ClickException):
    exit_code = int(Exit.COULD_NOT_RUN)


@contextmanager
def told() -> Iterator[None]:
    """What goes wrong, as a message and an exit code."""
    try:
        yield
    except (NotTrusted, Damaged) as error:
        raise _DoesNotHold(str(error)) from error
    except (
        ExportError, FileError, LedgerError, NoteError, SourceError, EventError, RightsError, VaultError, OSError
    ) as error:  # fmt: skip
        raise _CouldNotRun(str(error)) from error


def known_texts(folder: Path) -> Known:
    """What this server can say today, by the hashes under which the log may name it. Raises FileError."""
    loaded = load(folder)
    specs = needed_prompts(loaded.flows.flows, loaded.library)
    texts = {text_sha256(spec.text): spec.text for spec in specs if spec.notice is not None}
    texts |= _cached(loaded.settings.prompts.cache)
    steps = [step for flow in loaded.flows.flows for steps in flow.sections.values() for step in steps]
    return Known(texts, {step.policy_hash: step.settings() for step in steps if isinstance(step, Consent)})


def _cached(cache: Path) -> Mapping[str, str]:
    """The words of prompts that were rendered before the flow was changed."""
    found = {}
    for file in cache.glob("*.json"):
        try:
            value = json.loads(file.read_bytes())
            found[str(value["text_sha256"])] = str(value["text"])
        except (ValueError, KeyError, TypeError, OSError):
            continue  # the cache is no evidence: what cannot be read is not at hand
    return found


def _facts(asked: _Asked, call_id: str) -> tuple[Facts, tuple[Proof, ...]]:
    asked.check()
    known = Known()
    if asked.db is None:
        try:
            known = known_texts(asked.folder)
        except FileError as error:
            click.echo(f"the flows of today cannot be read, so their texts are left out: {error}", err=True)
    with log_reader(asked.folder, asked.db) as log:
        events = list(log.events(log.find_call(call_id)))
    facts = gather(events, asked.keys, known, with_personal=asked.with_personal)
    with LogSource(asked.database) as source:
        return facts, proofs(facts, source, asked.keys)


def _must_replay(facts: Facts) -> None:
    if not facts.replay.holds:
        raise NotTrusted(
            f"its decisions do not follow from what was logged ({facts.replay.differences[0].what})",
            facts.call,
            "run: ivr log replay",
        )


# -- audio -----------------------------------------------------------------------------------------------------------


def _audio(asked: _Asked, facts: Facts) -> dict[str, vcon.Audio]:
    opened = _opened(asked, facts, "vcon")
    return {one.id: vcon.Audio("audio/x-wav", b"".join(wav(recording, recording.rate))) for one, recording in opened}


def _waveform(asked: _Asked, facts: Facts, end_ms: int) -> Waveform | None:
    envelope, some = Envelope(end_ms), False
    for one, recording in _opened(asked, facts, None):
        envelope.add(one, recording)
        some = True
    return envelope.waveform() if some else None


def _opened(asked: _Asked, facts: Facts, export: str | None) -> Iterator[tuple[Recorded, OpenRecording]]:
    """Each recording that is kept, opened once the event that says so is durable: whatever fails there ends it all."""
    if asked.identity is None:
        return
    settings = Settings.load(asked.folder)
    person = identify(asked.identity, settings.keys.people)
    store = vault_of(settings)
    for one in facts.recordings:
        if one.spans and not one.erased:
            with LedgerTool(settings.ledger.socket, "ivr call", person.signer) as tool:
                announce(tool, person, call=facts.call, recording=one.id, why=asked.reason or "", export=export)
            yield one, OpenRecording(store, facts.call, one.id, person.identities)


def _signer(key: Path | None, certificates: Path | None) -> VconSigner | None:
    if key is None and certificates is None:
        return None
    if key is None or certificates is None:
        raise ExportError("--sign-key and --sign-cert belong together")
    return VconSigner(key, certificates)


def _deliver(content: bytes, output: Path | None, force: bool) -> None:
    if output is None:
        click.echo(content, nl=False)
        return
    write_durably(output, content, replace=force)
    click.echo(f"{output}: {len(content)} bytes", err=True)

# SPDX-License-Identifier: GPL-3.0-or-later
"""The answer to an access request (GDPR Art. 15, 20): one zip with a letter, the recordings, the events and receipts.

Who opens what, and why, is in the log before the first recording is opened. The zip is built in a file without a name,
so that nothing in clear is left when the program dies; it gets its name, 0600, when it is whole.
"""

import io
import json
import os
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import soundfile

from ivr.ledger.canonical import Json
from ivr.ledger.query import LogReader, ShownEvent
from ivr.ledger.tool import LedgerTool
from ivr.rights.announce import announce
from ivr.rights.identity import Known
from ivr.rights.letter import Facts, audio_name, letter
from ivr.rights.retention import Clocks
from ivr.rights.view import Call, Recording, Request, View
from ivr.vault.errors import VaultExists, from_os_error
from ivr.vault.open import OpenRecording
from ivr.vault.store import RecordingStore

FORMATS = ("flac", "wav")
# (sequence number) → the receipt's text, or None while no checkpoint covers the event.
Receipts = Callable[[int], str | None]


@dataclass(frozen=True, slots=True)
class Contents:
    """What goes in. `own` are calls that the person made, `named` events of other calls that name them."""

    request: Request
    own: tuple[Call, ...]
    named: tuple[tuple[ShownEvent, str], ...]

    def recordings(self) -> list[Recording]:
        """Those of their calls that are still there and over."""
        return [one for call in self.own for one in call.recordings if one.stopped and one.erased is None]


def gather(log: LogReader, view: View, request: Request, matches: Sequence[Any]) -> Contents:
    """Everything that names the person of a request. `matches` come from the ledger; empty for one by reference."""
    calls = list(request.calls)
    named: list[tuple[ShownEvent, str]] = []
    for match in matches:
        if match.name == "caller" and match.call is not None:
            calls.append(match.call)
        elif match.call is not None and (event := log.event(match.seq)) is not None:
            named.append((event, match.name))
    own = tuple(view.calls[name] for name in dict.fromkeys(calls) if name in view.calls)
    return Contents(request, own, tuple(named))


def write_package(
    output: Path,
    contents: Contents,
    facts: Facts,
    *,
    log: LogReader,
    view: View,
    store: RecordingStore,
    tool: LedgerTool,
    known: Known,
    form: str,
    why: str,
    receipts: Receipts,
    clocks: Clocks,
) -> int:
    """Write the zip; its size in bytes. Raises NotAllowed, LedgerUnavailable before anything is opened, VaultError."""
    known.must("subject.request.packaged")
    if os.path.lexists(output):
        raise VaultExists("exists already", output)
    recordings = contents.recordings()
    _say(tool, known, contents, recordings, form, why)
    with _nameless(output) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as package:
        package.writestr(f"letter-{facts.texts.language}.txt", letter(contents.own, contents.named, view, facts, form))
        package.writestr(
            "data.json", json.dumps(_data(contents, log, view, clocks, form), indent=1, ensure_ascii=False)
        )
        for seq in _proven(contents, log):
            text = receipts(seq)
            if text is not None:
                package.writestr(f"receipts/{seq}.tlog-proof", text)
        for one in recordings:
            announce(tool, known, call=one.call, recording=one.id, why=why, export=form)
            opened = OpenRecording(store, one.call, one.id, known.identities)
            # Compressed audio does not get smaller.
            package.writestr(audio_name(one, form), _audio(opened, form), zipfile.ZIP_STORED)
    return output.stat().st_size


def _say(
    tool: LedgerTool, known: Known, contents: Contents, recordings: Sequence[Recording], form: str, why: str
) -> None:
    """The package is on record before there is one."""
    names = [one.id for one in recordings]
    data: dict[str, Json] = {"request": contents.request.id, "calls": len(contents.own), "recordings": names}
    data |= {"format": form, "why": why}
    tool.append("subject.request.packaged", data=data, personal={"who": known.person.name})


def _audio(opened: OpenRecording, form: str) -> bytes:
    out = io.BytesIO()
    with soundfile.SoundFile(out, "w", opened.rate, 2, subtype="PCM_16", format=form.upper()) as file:
        for _, audio in opened.segments():
            file.write(audio)
    return out.getvalue()


def _proven(contents: Contents, log: LogReader) -> Iterator[int]:
    """The events worth a receipt: what was decided, permitted and kept."""
    kinds = ("consent.asked", "consent.decided", "consent.withdrawn", "recording.permitted", "recording.stopped")
    for call in contents.own:
        yield from (event.seq for event in log.events(call.id) if event.type in (*kinds, "recording.erased"))


def _data(contents: Contents, log: LogReader, view: View, clocks: Clocks, form: str) -> dict[str, Any]:
    request = contents.request
    return {
        "format": "assent-subject-package",
        "v": 1,
        "request": {"id": request.id, "kind": request.kind, "received": str(request.received), "due": str(request.due)},
        "retention_days": {"personal": clocks.personal, "evidence": clocks.evidence},
        "calls": [_call(call, log, view, clocks, form) for call in contents.own],
        "named_in": [_event(event, log, (name,)) for event, name in contents.named],
        "opened": [_opening(event) for event in openings(contents.own, view)],
    }


def _call(call: Call, log: LogReader, view: View, clocks: Clocks, form: str) -> dict[str, Any]:
    # Of the other parties of a call nothing is told: Art. 15(4).
    own = {call.received.seq: None}
    events = [_event(event, log, own.get(event.seq, ())) for event in log.events(call.id)]
    return {
        "call": call.id,
        "settings": dict(call.settings),
        "held": call.id in view.covered,
        "recordings": [
            {
                "recording": one.id,
                "seconds": round(one.seconds, 3),
                "file": audio_name(one, form) if one.erased is None and one.stopped else None,
                "erased": one.erased.time if one.erased else None,
                "kept_days": clocks.recordings if call.retention_days is None else call.retention_days,
            }
            for one in call.recordings
        ],
        "events": events,
    }


def _event(event: ShownEvent, log: LogReader, names: Sequence[str] | None) -> dict[str, Any]:
    """An event as an SD-JWT with the person's own disclosures (None: all that it has)."""
    found = log.disclosures(event.seq)
    chosen = {name: text for name, text in found.items() if names is None or name in names}
    personal = {name: event.personal[name] for name in chosen}
    return {
        "seq": event.seq,
        "id": event.id,
        "time": event.time,
        "type": event.type,
        "data": dict(event.data),
        "personal": personal,
        "sd_jwt": "~".join([event.jws, *chosen.values(), ""]),
    }


def openings(calls: Sequence[Call], view: View) -> list[ShownEvent]:
    """Every time one of these calls' recordings was opened."""
    own = {one.id for call in calls for one in call.recordings}
    return [event for event in view.listened if str(event.data.get("recording")) in own]


def _opening(event: ShownEvent) -> dict[str, Any]:
    who = event.personal.get("who")
    return {"time": event.time, "what": event.type, "recording": event.data["recording"], "who": who, **_why(event)}


def _why(event: ShownEvent) -> dict[str, Any]:
    return {"why": event.data.get("why")}


@contextmanager
def _nameless(output: Path) -> Iterator[BinaryIO]:
    """A file that has no name until it is whole: what a crash leaves of it is nothing (open(2), O_TMPFILE)."""
    try:
        handle = os.open(output.parent, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise from_os_error(error, "write without leaving traces in", output.parent) from error
    with os.fdopen(handle, "w+b") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())
        folder = os.open(output.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            # With a folder's handle Python calls linkat(2), which alone follows the link in /proc.
            os.link(f"/proc/self/fd/{file.fileno()}", output.name, dst_dir_fd=folder, follow_symlinks=True)
            os.fsync(folder)
        except OSError as error:
            raise from_os_error(error, "name", output) from error
        finally:
            os.close(folder)

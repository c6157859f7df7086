# SPDX-License-Identifier: GPL-3.0-or-later
"""A person's request from the first letter to the answer: found, taken in, packaged, erased, closed, all on record."""

import io
import json
import zipfile
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import Result

from ivr.audit.receipt import Receipt, check_receipt
from ivr.ledger.event import match_disclosures, peek
from ivr.ledger.keys import load_vkey
from ivr.rights.texts import LANGUAGES
from ivr.rights.view import one_month_after
from rights_kit import NUMBER, Server, make_server
from vault_kit import noise, plain_audio_in

RATE = 8000


@pytest.fixture
def server(tmp_path: Path) -> Server:
    made = make_server(tmp_path)
    text = (made.folder / "server.yaml").read_text()
    (made.folder / "server.yaml").write_text(text.replace("region: null", "region: DE"))
    return made


def as_officer(server: Server, *args: str) -> Result:
    return server.ivr("subject", *args, "--identity", str(server.officer))


def opened(server: Server, *more: str) -> str:
    done = as_officer(server, "open", "--number", "030/123456", "--json", *more)
    assert done.exit_code == 0, done.output
    return str(json.loads(done.stdout)["request"])


SPELLINGS = ("+49 30 123456", "0049 (30) 12 34 56", "030 123-456", "+49 (0)30/123456", "sip:+4930123456@host")


def test_a_number_is_found_however_it_is_written(server: Server) -> None:
    call = server.call(recorded=False)
    server.call(recorded=False, caller="+441632960123")
    with server.serving():
        for spelling in SPELLINGS:
            found = as_officer(server, "find", "--number", spelling, "--json")
            assert [row["call"] for row in json.loads(found.stdout)["calls"]] == [call.id], spelling


def test_the_clock_is_one_month_and_overdue_is_loud(server: Server) -> None:
    assert one_month_after(date(2026, 1, 31)) == date(2026, 2, 28)
    assert one_month_after(date(2026, 12, 5)) == date(2027, 1, 5)
    assert one_month_after(date(2028, 1, 30)) == date(2028, 2, 29)
    today = datetime.now(UTC).date()
    with server.serving():
        fresh = opened(server)
        listed = server.ivr("subject", "list")
        assert listed.exit_code == 0
        assert f"due {one_month_after(today)}" in listed.stdout
        old = opened(server, "--received", str(today - timedelta(days=40)))
        listed = server.ivr("subject", "list")
        assert listed.exit_code == 1
        assert listed.stdout.splitlines()[0].startswith(old)
        assert "OVERDUE" in listed.stdout.splitlines()[0]
        assert "OVERDUE" in listed.stderr
        closed = as_officer(server, "close", old[:35], "--outcome", "answered", "--reason", "sent")
        assert closed.exit_code == 0, closed.output
        assert "days late" in closed.stdout
        assert server.ivr("subject", "list").exit_code == 0
        assert as_officer(server, "close", old, "--outcome", "answered", "--reason", "x").exit_code == 2
        assert as_officer(server, "open", "--number", "1", "--received", str(today + timedelta(days=1))).exit_code == 2
    assert [event.data["late"] for event in server.events("subject.request.closed")] == [True], fresh


def test_the_package_holds_everything_and_nothing_of_others(server: Server, tmp_path: Path) -> None:
    call = server.call(seed=5)
    server.call(caller="+441632960123", seed=7)
    out = tmp_path / "out" / "package.zip"
    out.parent.mkdir()
    with server.serving():
        request = opened(server)
        heard = server.by_officer("recording", "show", call.recording, reason="complaint 17")
        assert heard.exit_code == 0, heard.output
        args = ("package", request, "--output", str(out), "--reason", "Art. 15")
        done = as_officer(server, *args)
        assert done.exit_code == 0, done.output
        assert as_officer(server, *args).exit_code == 2  # never over a file that is there
    assert out.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in out.parent.iterdir()] == ["package.zip"]
    with zipfile.ZipFile(out) as package:
        data = json.loads(package.read("data.json"))
        letter = package.read("letter-en.txt").decode()
        names = package.namelist()
        receipts = [package.read(name).decode() for name in names if name.startswith("receipts/")]
        (audio,) = [package.read(name) for name in names if name.startswith("recordings/")]
    samples, rate = soundfile.read(io.BytesIO(audio), dtype="int16")
    assert rate == RATE
    assert np.array_equal(samples, np.stack([noise(RATE, 5), noise(RATE, 6)], axis=1))
    (told,) = data["calls"]
    assert told["call"] == call.id
    first = told["events"][0]
    assert first["personal"]["caller"] == f"sip:{NUMBER}@example.org"
    jws, *disclosures, end = first["sd_jwt"].split("~")
    assert end == ""
    assert len(match_disclosures(peek(jws), disclosures)) == 3
    assert "agent7" not in json.dumps(data) + letter
    assert data["opened"][0]["why"] == "complaint 17"
    assert "complaint 17" in letter
    assert "30" in letter  # days, as the caller was told
    assert "{" not in letter
    keys = [load_vkey(server.folder / "keys")]
    assert len([check_receipt(Receipt.parse(text), keys) for text in receipts]) == 3
    # Audio was opened only after the log said so, by whom and why; and left nowhere else in clear.
    kinds = [event.type for event in server.events() if "who" in event.personal]
    assert kinds == [
        "subject.request.opened",
        "recording.accessed",
        "subject.request.packaged",
        "recording.exported",
    ]
    assert not plain_audio_in(server.folder, [noise(RATE, 5), noise(RATE, 6)])
    assert server.findings() == []


def test_the_letter_is_in_the_language_asked_for(server: Server, tmp_path: Path) -> None:
    server.call()
    letters = {}
    with server.serving():
        request = opened(server)
        for language in LANGUAGES:
            out = tmp_path / f"{language}.zip"
            args = ("package", request, "--output", str(out), "--language", language, "--format", "wav")
            done = as_officer(server, *args, "--reason", "Art. 15")
            assert done.exit_code == 0, done.output
            with zipfile.ZipFile(out) as package:
                letters[language] = package.read(f"letter-{language}.txt").decode()
                assert [name for name in package.namelist() if name.endswith(".wav")]
    for text, words in (
        ("en", ("quality assurance", "our legitimate interest")),
        ("de", ("Qualitätssicherung", "unser berechtigtes Interesse")),
        ("fr", ("qualité", "notre intérêt légitime")),
        ("es", ("calidad", "nuestro interés legítimo")),
    ):
        for word in words:
            assert word in letters[text].replace("\n", " "), (text, word)
        assert "{" not in letters[text]


def test_without_a_durable_event_no_audio(server: Server, tmp_path: Path) -> None:
    call = server.call()
    out = tmp_path / "x.wav"
    args = ["recording", "export", call.recording, "--output", str(out)]
    assert server.by_officer(*args).exit_code == 2  # no ledger
    assert not out.exists()
    with server.serving():
        assert server.ivr(*args, "--identity", str(server.officer)).exit_code == 2  # no reason
        assert server.by_officer(*args, reason=" ").exit_code == 2
        assert not out.exists()
        assert server.by_officer(*args).exit_code == 0
    (exported,) = server.events("recording.exported")
    assert (exported.personal["who"], exported.data["why"]) == ("officer", "a reason")


@pytest.mark.parametrize("role", ["operator", "auditor"])
def test_nobody_but_an_officer_opens_audio(server: Server, tmp_path: Path, role: str) -> None:
    call = server.call()
    person = tmp_path / "person.age"
    assert server.ivr("access", "add", "pat", "--role", role, "--identity", str(person)).exit_code == 0
    stranger = tmp_path / "stranger.age"
    assert server.ivr("access", "add", "x", "--role", role, "--identity", str(stranger)).exit_code == 0
    assert server.ivr("access", "remove", "x").exit_code == 0
    out = tmp_path / "x.wav"
    with server.serving():
        request = opened(server)
        for identity in (person, stranger):
            args = ("--identity", str(identity), "--reason", "curious")
            for command in (
                ("recording", "export", call.recording, "--output", str(out)),
                ("recording", "show", call.recording),
                ("subject", "package", request, "--output", str(out)),
                ("subject", "erase", request),
                ("erase", "--call", call.id),
            ):
                done = server.ivr(*command, *args)
                assert done.exit_code == 2, command
                assert "may do this" in done.stderr or "belongs to nobody" in done.stderr
    assert not out.exists()
    assert server.store.key_file(call.recording).exists()
    assert server.events("recording.accessed", "recording.exported", "subject.erased") == []


def test_a_request_ends_in_erasure_and_names_nobody_any_more(server: Server, tmp_path: Path) -> None:
    call = server.call()
    with server.serving():
        request = opened(server, "--kind", "erasure")
        done = as_officer(server, "erase", request, "--reason", "Art. 17", "--json")
        assert done.exit_code == 0, done.output
        receipt = json.loads(done.stdout)
        assert receipt["recordings"] == [call.recording]
        assert as_officer(server, "close", request, "--outcome", "erased", "--reason", "done").exit_code == 0
        found = as_officer(server, "find", "--number", NUMBER, "--json")
        assert json.loads(found.stdout) == {"calls": [], "requests": []}
    event = peek(receipt["events"][0]["jws"])
    assert (event.type, event.data["request"], event.data["scope"]) == ("subject.erased", request, "subject")
    assert all("subject" not in e.personal for e in server.events("subject.request.opened"))
    assert NUMBER[1:] not in json.dumps([event.as_json() for event in server.events()])
    assert server.findings() == []


def test_a_call_that_is_up_is_not_erased(server: Server) -> None:
    call = server.call(ended=False)
    with server.serving():
        done = server.by_officer("erase", "--call", call.id)
        assert done.exit_code == 2
        assert "is up" in done.stderr

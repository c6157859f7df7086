# SPDX-License-Identifier: GPL-3.0-or-later
"""A log that changes its signing key: old events hold, the new key follows from the old one, nothing else does."""

import json
import os
import stat
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ivr.audit.findings import Check
from ivr.audit.keys import known_keys
from ivr.audit.source import LogSource
from ivr.audit.verified import Unverified, verified_events
from ivr.audit.verify import Kept, Report, verify_log
from ivr.cli import main
from ivr.ledger import rotate as rotating
from ivr.ledger.errors import LedgerFatal, LedgerMissing
from ivr.ledger.event import key_id
from ivr.ledger.keyring import CurrentKey, KeyRing, Succession
from ivr.ledger.keys import LedgerKey
from ivr.ledger.log import Entry
from ivr.ledger.note import NoteError, VKey, open_checkpoint
from ivr.ledger.permit import PermitError, verify_permit
from ivr.ledger.rotate import NEXT, rotate
from ledger_kit import CALL, ORIGIN, Home, joined, make_home, permitted, received, recorded_call
from proof_kit import cut, edit, newest, seal


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A log of eight events by the first key."""
    made = make_home(tmp_path)
    recorded_call(made)
    return made


def ring(home: Home) -> KeyRing:
    return KeyRing.read(home.keys / "ledger.vkey")


def verdict(home: Home, key: VKey, *kept: str) -> Report:
    with LogSource(home.db) as source:
        return verify_log(source, key, [Kept(note, "kept") for note in kept])


def checks(report: Report) -> set[Check]:
    return {finding.check for finding in report.findings}


def stranger() -> LedgerKey:
    return LedgerKey.of(ORIGIN, Ed25519PrivateKey.generate())


def test_old_and_new_events_hold_with_any_of_the_keys(home: Home) -> None:
    for _ in range(3):
        rotate(home.db, home.keys)
        home.append([joined()])
    keys = ring(home).keys
    assert len(set(keys)) == 4
    for key in keys:
        report = verdict(home, key)
        assert (report.findings, report.events, report.sealed) == ([], 17, 17)
        with LogSource(home.db) as source:
            assert len(list(verified_events(source, key))) == 17
    with LogSource(home.db) as source:
        assert known_keys(source, keys[0]).keys == keys
        assert known_keys(source, keys[2]).keys == keys[2:]


def test_the_old_key_says_who_follows_it(home: Home) -> None:
    old = home.vkey
    done = rotate(home.db, home.keys)
    assert (done.old, done.new) == (old, home.vkey)
    with LogSource(home.db) as source:
        added, retired = list(source.rows())[-2:]
    first = KeyRing((old,))
    assert first.verify(added.jws.encode()).data == {"kid": key_id(done.new.public), "vkey": str(done.new)}
    assert first.verify(retired.jws.encode()).data == {"kid": key_id(old.public)}
    note = newest(home)
    assert open_checkpoint(note, old) == open_checkpoint(note, done.new)
    assert open_checkpoint(note, old).size == 10


@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_the_files(umask: int, home: Home, request: pytest.FixtureRequest) -> None:
    request.addfinalizer(partial(os.umask, os.umask(umask)))
    before = (home.keys / "ledger.key").read_bytes()
    rotate(home.db, home.keys)
    assert (home.keys / "ledger.key").read_bytes() != before
    assert stat.S_IMODE(os.stat(home.keys / "ledger.key").st_mode) == 0o600
    assert stat.S_IMODE(os.stat(home.keys / "ledger.vkey").st_mode) == 0o644
    assert sorted(path.name for path in home.keys.iterdir()) == ["ledger.key", "ledger.vkey", "pseudonym.key"]
    assert home.key.retired == (ring(home).first,)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_key_that_root_made_belongs_to_the_ledgers_user(home: Home) -> None:
    """Who could not start otherwise: under systemd root rotates, and somebody else signs."""
    os.chown(home.keys / "ledger.key", 60_001, 60_003)
    rotate(home.db, home.keys)
    owner = (home.keys / "ledger.key").stat()
    assert (owner.st_uid, owner.st_gid) == (60_001, 60_003)


def test_the_old_key_cannot_sign_any_more(home: Home) -> None:
    old = home.key
    log = home.open()
    log.hand_over(stranger())
    with pytest.raises(LedgerFatal, match="retired"):
        log.append([joined()])
    log.close()
    with pytest.raises(LedgerMissing, match="ivr keys rotate"):
        home.open()
    assert old


def test_a_running_ledger_is_not_rotated(home: Home) -> None:
    log = home.open()
    with pytest.raises(LedgerMissing, match="in use"):
        rotate(home.db, home.keys)
    log.append([joined()])
    log.close()
    assert home.verify() == []


@pytest.mark.parametrize("crash", ["write_secret", "hand_over", "replace_file", "os.replace"])
def test_a_crash_at_every_step_is_finished_by_the_next_run(
    home: Home, monkeypatch: pytest.MonkeyPatch, crash: str
) -> None:
    class Crash(Exception):
        pass

    def crashed(*_: object, **__: object) -> None:
        raise Crash

    targets = {
        "write_secret": (rotating, "write_secret"),
        "hand_over": (rotating.Log, "hand_over"),
        "replace_file": (rotating, "replace_file"),
        "os.replace": (rotating.os, "replace"),
    }
    with monkeypatch.context() as patch:
        patch.setattr(*targets[crash], crashed)
        with pytest.raises(Crash):
            rotate(home.db, home.keys)
    done = rotate(home.db, home.keys)
    assert done.finished is (crash in ("replace_file", "os.replace"))
    assert not (home.keys / NEXT).exists()
    home.append([joined()])
    assert verdict(home, ring(home).first).findings == []
    assert len(ring(home).keys) == 2


def test_a_ledger_that_starts_in_the_middle_of_a_rotation_says_what_to_do(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(rotating, "_take_over", lambda *_: None)
        rotate(home.db, home.keys)
    with pytest.raises(LedgerMissing, match="ivr keys rotate"):
        home.open()


def test_a_worker_follows(home: Home) -> None:
    """The worker lives on: the permit of the new key is taken, one that the retired key signs is not."""
    home.append([received()])
    key = CurrentKey(home.keys / "ledger.vkey")
    log = home.open()
    old = log.append([permitted()])[0].jws
    log.close()
    assert verify_permit(old, key(), call=CALL).call == CALL
    rotate(home.db, home.keys)
    log = home.open()
    new = log.append([permitted(recording="01a1ffd6-be92-7d6c-b3f4-b9f57d775100")])[0].jws
    log.close()
    assert verify_permit(new, key(), call=CALL).call == CALL
    with pytest.raises(PermitError):
        verify_permit(old, key(), call=CALL)
    (home.keys / "ledger.vkey").unlink()
    with pytest.raises(NoteError):
        key()


def test_calls_that_were_open_at_the_rotation_are_settled(home: Home) -> None:
    call = "01a1ffd6-be82-7d3f-ab83-a1fd14cfaf07"
    home.append([received(call)])
    rotate(home.db, home.keys)
    log = home.open()
    assert [event.type for _, event in log.unfinished()] == ["call.received"]
    log.close()


# -- forged --


def sign_as(home: Home, key: LedgerKey, entries: list[Entry], monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody continues the log with this key, whatever the ledger would say of it."""
    log = home.open()
    monkeypatch.setattr(log, "_key", key)
    log.append(entries)
    log.close()


def test_a_new_key_that_nobody_announced(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    thief = stranger()
    sign_as(home, thief, [joined()], monkeypatch)
    assert checks(verdict(home, home.vkey)) == {Check.EVENT}


def test_a_rotation_that_the_new_key_signed_itself(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    thief, true = stranger(), home.key
    entries = [
        Entry("key.added", None, {"kid": thief.kid, "vkey": str(thief.vkey)}),
        Entry("key.retired", None, {"kid": true.kid}),
        joined(),
    ]
    sign_as(home, thief, entries, monkeypatch)
    seal(home, thief)
    assert {Check.EVENT, Check.CHECKPOINT} <= checks(verdict(home, true.vkey))
    assert Check.KEY in checks(verdict(home, thief.vkey))


def test_an_announced_key_that_signs_before_its_turn(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    heir = stranger()
    home.append([Entry("key.added", None, {"kid": heir.kid, "vkey": str(heir.vkey)})])
    sign_as(home, heir, [joined()], monkeypatch)
    assert checks(verdict(home, home.vkey)) == {Check.EVENT}


def test_a_retired_key_that_goes_on(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    old = home.key
    rotate(home.db, home.keys)
    sign_as(home, old, [joined()], monkeypatch)
    seal(home, old)
    found = verdict(home, old.vkey)
    assert {Check.EVENT, Check.CHECKPOINT} <= checks(found)
    assert found.sealed == 10
    with LogSource(home.db) as source, pytest.raises(Unverified, match="event 10"):
        list(verified_events(source, old.vkey))


def test_a_retired_key_that_writes_the_history_anew(home: Home) -> None:
    """The old key was kept by somebody, against the rules: nothing inside the log can tell, a kept checkpoint does."""
    old_key = (home.keys / "ledger.key").read_bytes()
    old_vkey = (home.keys / "ledger.vkey").read_bytes()
    first = home.vkey
    rotate(home.db, home.keys)
    second, kept = home.vkey, newest(home)
    cut(home, 8)
    (home.keys / "ledger.key").write_bytes(old_key)
    (home.keys / "ledger.vkey").write_bytes(old_vkey)
    edit(home, f"UPDATE meta SET value = '{key_id(first.public)}' WHERE name = 'kid'")
    home.append([joined(at_ms=1), joined(at_ms=2), joined(at_ms=3)])
    assert verdict(home, first).findings == []
    assert Check.TREE in checks(verdict(home, first, kept))
    # Who holds the newer key needs no checkpoint: that key does not stand behind this log.
    assert checks(verdict(home, second)) == {Check.KEY}


def test_a_made_up_history_that_ends_with_the_true_key(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A forger's own key announces the true one. The true key has sealed nothing of it, and that is found."""
    (tmp_path / "forged").mkdir()
    forged, true = make_home(tmp_path / "forged"), home.key
    forger = forged.key
    forged.append(
        [
            joined(),
            Entry("key.added", None, {"kid": true.kid, "vkey": str(true.vkey)}),
            Entry("key.retired", None, {"kid": forger.kid}),
        ],
        checkpoint=False,
    )
    found = verdict(forged, true.vkey)
    assert [one.check for one in found.findings] == [Check.KEY]
    assert "covers the events of the keys before it" in found.findings[0].message
    with LogSource(forged.db) as source, pytest.raises(Unverified, match="before it"):
        list(verified_events(source, true.vkey))
    with LogSource(forged.db) as source, pytest.raises(Unverified, match="none of the keys"):
        list(verified_events(source, stranger().vkey))


def event(home: Home, kind: str, **data: str) -> str | None:
    """What the succession says of an event of the first key."""
    log = home.open()
    entry = Entry(kind, None, data)
    keys = Succession(home.vkey)
    jws = log.append([entry])[0].jws
    log.close()
    return keys.follow(KeyRing((home.vkey,)).verify(jws.encode()))


def test_what_is_no_change_of_keys(home: Home) -> None:
    heir, other = stranger(), LedgerKey.of("example.net/log", Ed25519PrivateKey.generate())
    first = home.key
    assert "is none" in str(event(home, "key.added", kid="x", vkey="nonsense"))
    assert "another key id" in str(event(home, "key.added", kid="x", vkey=str(heir.vkey)))
    assert "not of this log" in str(event(home, "key.added", kid=other.kid, vkey=str(other.vkey)))
    assert "in force already" in str(event(home, "key.added", kid=first.kid, vkey=str(first.vkey)))
    assert "none was announced" in str(event(home, "key.retired", kid=first.kid))
    assert "the key in force is" in str(event(home, "key.retired", kid=heir.kid))
    assert event(home, "key.added", kid=heir.kid, vkey=str(heir.vkey)) is None


def test_two_keys_are_not_announced_at_a_time(home: Home) -> None:
    for heir in (stranger(), stranger()):
        home.append([Entry("key.added", None, {"kid": heir.kid, "vkey": str(heir.vkey)})])
    found = verdict(home, home.vkey).findings
    assert [(one.check, one.event) for one in found] == [(Check.KEY, 9)]
    assert "another one waits" in found[0].message


def test_a_retired_key_is_not_announced_again(home: Home) -> None:
    first = home.vkey
    rotate(home.db, home.keys)
    home.append([Entry("key.added", None, {"kid": key_id(first.public), "vkey": str(first)})])
    found = verdict(home, first)
    assert [one.check for one in found.findings] == [Check.KEY]
    assert "was retired" in found.findings[0].message
    with LogSource(home.db) as source, pytest.raises(Unverified, match="was retired"):
        list(verified_events(source, first))


def test_a_ring_is_of_one_log(home: Home) -> None:
    with pytest.raises(NoteError, match="one or more"):
        KeyRing(())
    with pytest.raises(NoteError, match="all have its name"):
        KeyRing((home.vkey, VKey("example.net/log", stranger().vkey.public)))
    (home.keys / "broken").write_text("nonsense\n")
    with pytest.raises(NoteError, match="broken"):
        KeyRing.read(home.keys / "broken")


def test_the_commands(tmp_path: Path) -> None:
    def ivr(*arguments: object) -> str:
        result = CliRunner().invoke(main, [str(argument) for argument in arguments])
        assert result.exit_code == 0, result.output
        return result.stdout

    server = tmp_path / "server"
    first = ivr("init", server).strip()
    made = json.loads(ivr("keys", "rotate", "--config", server, "--json"))
    assert (made["old"], made["finished"]) == (first, False)
    shown = json.loads(ivr("keys", "show", "--config", server, "--json"))
    assert (shown["vkey"], shown["retired"]) == (made["new"], [first])
    assert first in ivr("keys", "show", "--config", server)
    for more in ([], ["--vkey", first], ["--vkey", made["new"]]):
        assert "HOLDS" in ivr("log", "verify", "--config", server, *more)
    assert "REPLAYS" in ivr("log", "replay", "--config", server)

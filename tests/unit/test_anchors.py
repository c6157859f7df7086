# SPDX-License-Identifier: GPL-3.0-or-later
"""Time stamps and cosignatures of checkpoints: asked for, checked when they come, and again offline by verification."""

import base64
import hashlib
import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from anchor_kit import Authority, Reply, Witness, answering, openssl
from ivr.audit.anchors import cosigned_notes, log_note, note_file, read_anchors, stamp_file
from ivr.audit.findings import Check
from ivr.audit.source import LogSource
from ivr.audit.verify import verify_log
from ivr.cli.log_commands import command
from ivr.ledger.cosignature import CosignerKey, cosign, cosigners
from ivr.ledger.note import NoteError, VKey
from ivr.ledger.rotate import rotate
from ivr.ledger.timestamp import StampError, check_stamp, load_roots, stamp
from ivr.ledger.web import Unreachable, post
from ivr.ledger.witness import WitnessRefused, cosigned_by
from ivr.node.anchoring import Anchored, anchor_newest
from ivr.node.initialise import initialise
from ivr.node.settings import Anchors, TimestampAuthority, WitnessService
from ledger_kit import Home, joined, make_home, recorded_call
from proof_kit import cut, newest

# The example of the specification, with the key it names itself by.
EXAMPLE = """example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
— witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==
"""  # noqa: E501


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tsa") / "tsa")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = make_home(tmp_path)
    recorded_call(made)
    return made


@dataclass
class Outside:
    """An authority and a witness that answer, and the settings that name them."""

    authority: Authority
    witness: Witness
    anchors: Anchors
    folder: Path

    def ask(self, home: Home) -> list[Anchored]:
        return anchor_newest(home.db, self.folder, self.anchors)

    def verify(self, home: Home, key: VKey | None = None) -> tuple[set[Check], int, int]:
        said = read_anchors(self.folder, load_roots(self.authority.root), [self.witness.key])
        with LogSource(home.db) as source:
            report = verify_log(source, key or home.vkey, said.kept)
        checks = {finding.check for finding in (*report.findings, *said.findings)}
        return checks, len(said.stamps), len(said.cosignatures)


@pytest.fixture
def outside(home: Home, authority: Authority) -> Iterator[Outside]:
    witness = Witness(home.vkey)
    with ExitStack() as stack:
        tsa = TimestampAuthority(url=stack.enter_context(answering(authority.answer)), roots=authority.root)
        service = WitnessService(url=stack.enter_context(answering(witness.answer)), key=str(witness.key))
        yield Outside(authority, witness, Anchors(timestamps=(tsa,), witnesses=(service,)), home.path / "anchors")


def test_a_stamp_and_a_cosignature_of_each_checkpoint(home: Home, outside: Outside) -> None:
    assert [(one.size, one.failed, one.already) for one in outside.ask(home)] == [(8, None, False)] * 2
    assert [one.already for one in outside.ask(home)] == [True, True]
    home.append([joined(at_ms=n) for n in range(300)])
    assert [(one.size, one.failed) for one in outside.ask(home)] == [(308, None)] * 2
    assert outside.verify(home) == (set(), 2, 2)
    assert len(list(outside.folder.iterdir())) == 4
    size, note = cosigned_notes(outside.folder)[-1]
    assert (size, log_note(note)) == (308, newest(home))


def test_the_time_is_the_authoritys(home: Home, outside: Outside) -> None:
    outside.ask(home)
    said = read_anchors(outside.folder, load_roots(outside.authority.root), [outside.witness.key])
    ((_, found),) = said.stamps
    assert abs(datetime.now(UTC) - found.time) < timedelta(minutes=5)
    ((_, cosigned),) = said.cosignatures
    assert cosigned.time == outside.witness.time


def test_openssl_alone_checks_the_stored_stamp(home: Home, outside: Outside, tmp_path: Path) -> None:
    outside.ask(home)
    (response,) = outside.folder.glob("*.tsr")
    (tmp_path / "note").write_text(newest(home))
    check = ["openssl", "ts", "-verify", "-in", response, "-data", tmp_path / "note", "-CAfile", outside.authority.root]
    assert subprocess.run(check, capture_output=True, timeout=20).returncode == 0


def test_anchors_show_what_the_key_could_hide(home: Home, outside: Outside) -> None:
    """Who holds the key cut the log and signed a new history: the anchors are checkpoints kept outside."""
    outside.ask(home)
    cut(home, 6)
    assert Check.CUT in outside.verify(home)[0]
    home.append([joined(at_ms=n) for n in range(5)])
    assert home.verify() == []
    assert Check.TREE in outside.verify(home)[0]
    failed = [one.failed for one in outside.ask(home)]
    assert failed[0] is None
    assert "history was rewritten" in str(failed[1])


def test_a_witness_that_saw_more_than_there_is(home: Home, outside: Outside) -> None:
    outside.ask(home)
    for file in outside.folder.iterdir():
        file.unlink()
    cut(home, 2)
    assert "its end was cut off" in str(outside.ask(home)[1].failed)


def test_a_witness_whose_memory_is_not_ours(home: Home, outside: Outside) -> None:
    """The folder is lost: the witness says what it has seen, and is asked again from there."""
    outside.ask(home)
    for file in outside.folder.iterdir():
        file.unlink()
    home.append([joined()])
    assert [one.failed for one in outside.ask(home)] == [None, None]


def test_after_a_rotation(home: Home, outside: Outside) -> None:
    first = home.vkey
    outside.ask(home)
    rotate(home.db, home.keys)
    # Both keys signed the checkpoint of the rotation: a witness that knows the first takes it.
    assert [one.failed for one in outside.ask(home)] == [None, None]
    home.append([joined()])
    assert "does not know the key" in str(outside.ask(home)[1].failed)
    outside.witness.log = home.vkey
    assert [one.failed for one in outside.ask(home)] == [None, None]
    assert outside.verify(home, first) == (set(), 3, 3)


def flip(file: Path, at: int) -> None:
    raw = bytearray(file.read_bytes())
    raw[at] ^= 1
    file.write_bytes(bytes(raw))


def test_a_changed_stamp_is_found(home: Home, outside: Outside) -> None:
    outside.ask(home)
    (response,) = outside.folder.glob("*.tsr")
    whole = response.read_bytes()
    for at in range(10, len(whole), 97):
        flip(response, at)
        assert outside.verify(home)[0] == {Check.ANCHOR}, f"byte {at}"
        response.write_bytes(whole)
    assert outside.verify(home)[0] == set()


def test_a_changed_cosignature_is_found(home: Home, outside: Outside) -> None:
    outside.ask(home)
    (note,) = outside.folder.glob("*.checkpoint")
    lines = note.read_text().splitlines(keepends=True)
    blob = bytearray(base64.b64decode(lines[-1].split()[-1]))
    for at in (4, 11, 12, 75):
        changed = bytearray(blob)
        changed[at] ^= 1
        line = lines[-1].replace(base64.b64encode(blob).decode(), base64.b64encode(changed).decode())
        note.write_text("".join([*lines[:-1], line]))
        assert outside.verify(home)[0] == {Check.ANCHOR}


def test_files_that_do_not_belong_together(home: Home, outside: Outside) -> None:
    outside.ask(home)
    (response,) = outside.folder.glob("*.tsr")
    (note,) = outside.folder.glob("*.checkpoint")
    response.rename(outside.folder / stamp_file(9, "tsa"))
    assert outside.verify(home)[0] == {Check.ANCHOR}
    (outside.folder / stamp_file(9, "tsa")).unlink()
    note.rename(outside.folder / note_file(9))
    assert outside.verify(home)[0] == {Check.ANCHOR}


def test_stamps_without_a_root_are_said_to_be_unchecked(home: Home, outside: Outside) -> None:
    outside.ask(home)
    said = read_anchors(outside.folder, [], [])
    assert (said.unchecked, said.stamps, said.findings) == (1, [], [])


# -- what an authority may get wrong --


def refused(answer: Callable[[str, str, bytes], Reply], root: Path, note: str = "note\n") -> str:
    with answering(answer) as url, pytest.raises(StampError) as caught:
        stamp(url, note, load_roots(root))
    return str(caught.value)


def test_an_answer_to_another_question(authority: Authority) -> None:
    """A stamp of the same note, but an old one: only the nonce tells."""
    with answering(authority.answer) as url:
        old = stamp(url, "note\n", load_roots(authority.root)).response
    assert check_stamp(old, "note\n", load_roots(authority.root)).response == old
    kind = "application/timestamp-reply"
    assert "Nonce" in refused(lambda *_: (200, kind, old), authority.root)
    with pytest.raises(StampError, match="does not hold"):
        check_stamp(old, "another\n", load_roots(authority.root))


def test_a_stamp_of_an_authority_that_is_not_trusted(authority: Authority, tmp_path: Path) -> None:
    other = Authority(tmp_path / "other")
    assert "does not hold" in refused(other.answer, authority.root)


def test_answers_that_are_no_stamps(authority: Authority) -> None:
    kind = "application/timestamp-reply"
    assert "not a time-stamp response" in refused(lambda *_: (200, kind, b"hello"), authority.root)
    assert "HTTP 500" in refused(lambda *_: (500, kind, b""), authority.root)
    assert "text/html" in refused(lambda *_: (200, "text/html", b"<p>"), authority.root)
    # PKIStatus 2, rejection, and no token.
    assert "status 2" in refused(lambda *_: (200, kind, bytes.fromhex("30053003020102")), authority.root)


def test_a_stamp_of_another_kind_of_hash(authority: Authority, tmp_path: Path) -> None:
    """The bytes are those of the SHA-256, and the stamp says that they are a SHA3-256."""
    digest = hashlib.sha256(b"note\n").hexdigest()
    openssl(tmp_path, "ts", "-query", "-digest", digest, "-sha3-256", "-cert", "-out", "query")
    status, _, response = authority.answer("/", "application/timestamp-query", (tmp_path / "query").read_bytes())
    assert status == 200
    with pytest.raises(StampError, match="another hash"):
        check_stamp(response, "note\n", load_roots(authority.root))


def test_roots_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(StampError, match="no-such"):
        load_roots(tmp_path / "no-such")


def test_no_answer(tmp_path: Path) -> None:
    with pytest.raises(Unreachable):
        post("http://127.0.0.1:1/", b"", "text/plain", timeout=2)
    with pytest.raises(Unreachable, match="not an http"):
        post(f"file://{tmp_path}", b"", "text/plain")
    with answering(lambda *_: (200, "text/plain", bytes(2 << 20))) as url, pytest.raises(Unreachable, match="longer"):
        post(url, b"", "text/plain")


# -- what a witness may get wrong --


def test_cosignatures_are_those_of_the_specification() -> None:
    """Timestamp and layout of the published example; its key is not published, so an unknown one is ignored."""
    assert cosigners(EXAMPLE, []) == []
    blob = base64.b64decode(EXAMPLE.splitlines()[-1].split()[-1])
    assert (len(blob), int.from_bytes(blob[4:12], "big")) == (76, 1679315147)
    witness = Witness(VKey("example.com/behind-the-sofa", b"\x01" * 32))
    line = cosign(EXAMPLE, witness.key, witness.private.sign, 1679315147)
    message = f"cosignature/v1\ntime 1679315147\n{EXAMPLE.partition(chr(10) * 2)[0]}\n"
    own = base64.b64decode(line.split()[-1])
    witness.private.public_key().verify(own[12:], message.encode())
    assert [found.time for found in cosigners(EXAMPLE + line, [witness.key])] == [1679315147]
    assert CosignerKey.parse(str(witness.key)) == witness.key


@pytest.mark.parametrize("length", [4, 11, 75, 77])
def test_a_cosignature_of_another_length(home: Home, length: int) -> None:
    witness = Witness(home.vkey)
    blob = base64.b64encode((witness.key.key_hash + bytes(80))[:length]).decode()
    with pytest.raises(NoteError, match=f"{length} bytes"):
        cosigners(f"{newest(home)}— {witness.name} {blob}\n", [witness.key])


@pytest.mark.parametrize("text", ["", "a+b", "w+00000000+AAAA", "w w+00000000+BAAA"])
def test_what_is_no_witness_key(text: str) -> None:
    with pytest.raises(NoteError):
        CosignerKey.parse(text)


def test_a_witness_key_with_another_hash(home: Home) -> None:
    name, _, key = str(Witness(home.vkey).key).split("+", 2)
    with pytest.raises(NoteError, match="its hash is"):
        CosignerKey.parse(f"{name}+00000000+{key}")


def asked(answer: Callable[[str, str, bytes], Reply], key: CosignerKey, note: str) -> str:
    with answering(answer) as url, pytest.raises(WitnessRefused) as caught:
        cosigned_by(url, key, note, 8, lambda _old: [])
    return str(caught.value)


def test_answers_that_are_no_cosignatures(home: Home) -> None:
    note, witness, other = newest(home), Witness(home.vkey), Witness(home.vkey, name="other.example/w")
    another = note.replace("\n8\n", "\n7\n")

    def line(signed: str, by: Witness) -> Reply:
        return 200, "text/plain", cosign(signed, by.key, by.private.sign, 1).encode()

    assert "no cosignature of its key" in asked(lambda *_: line(note, other), witness.key, note)
    assert "does not hold" in asked(lambda *_: line(another, witness), witness.key, note)
    assert "not a signature line" in asked(lambda *_: (200, "text/plain", b"hello\n"), witness.key, note)
    for status, what in (
        (403, "the key"),
        (404, "this log"),
        (422, "rewritten"),
        (400, "malformed"),
        (409, "rewritten"),
    ):
        assert what in asked(lambda *_, s=status: (s, "text/plain", b""), witness.key, note)
    # One that always names another size is not asked for ever.
    sizes = iter(range(1, 9))
    assert "HTTP 409" in asked(lambda *_: (409, "text/x.tlog.size", f"{next(sizes)}\n".encode()), witness.key, note)


# -- the commands --


def ivr(*arguments: object) -> Result:
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


def test_the_commands(tmp_path: Path, authority: Authority) -> None:
    server = tmp_path / "server"
    witness = Witness(VKey.parse(initialise(server, "example.org/consent-log").vkey))
    assert ivr("anchor", "--config", server).exit_code == 2
    with answering(authority.answer) as tsa, answering(witness.answer) as watching:
        settings = f"""anchors:
  timestamps: [{{url: "{tsa}", roots: "{authority.root}"}}]
  witnesses: [{{url: "{watching}", key: "{witness.key}"}}]
"""
        (server / "server.yaml").write_text(settings)
        result = ivr("anchor", "--config", server)
        assert (result.exit_code, result.output.count("done")) == (0, 2), result.output
    said = json.loads(ivr("verify", "--config", server, "--json").output)
    assert (said["holds"], len(said["time_stamps"]), len(said["cosignatures"])) == (True, 1, 1)
    # On another machine: a copy, the folder of anchors and three public keys.
    copy = ["--db", server / "data/log.sqlite", "--vkey", witness.log, "--anchors", server / "data/anchors"]
    result = ivr("verify", *copy, "--tsa-roots", authority.root, "--witness", witness.key)
    assert (result.exit_code, "2 events existed at" in result.output) == (0, True), result.output
    assert "NOT checked" in ivr("verify", *copy).output
    # A receipt carries the cosignature, and can be required to.
    file = tmp_path / "receipt"
    assert ivr("receipt", "1", "--config", server, "-o", file).exit_code == 0
    check = ["check-receipt", file, "--vkey", witness.log, "--witness"]
    assert ivr(*check, witness.key).exit_code == 0
    assert ivr(*check, Witness(witness.log).key).exit_code == 1
    # Nobody answers any more.
    (server / "data/anchors").rename(server / "data/before")
    assert ivr("anchor", "--config", server).exit_code == 1

# SPDX-License-Identifier: GPL-3.0-or-later
"""A peer that writes anything at all to the ledger's socket: the ledger stays up, serves others, and its log holds."""

import asyncio
import shutil
import struct
import tempfile
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyrage import x25519

from ivr.ledger.catalogue import TYPES
from ivr.ledger.client import LedgerClient
from ivr.ledger.errors import LedgerRefused
from ivr.ledger.ids import uuid7
from ivr.ledger.log import Entry
from ivr.ledger.people import Role, person_of, signing_key
from ivr.ledger.protocol import MAX_FRAME, VERSION
from ivr.ledger.tool import LedgerTool, Signer
from ivr.ledger.writer import GroupWriter
from ledger_kit import Home, joined, make_home, message, permitted, received, serving, started, until

RUNS = settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
CALL = uuid7()
LAST = 777_777

ints = st.integers(-(2**63), 2**64 - 1)
scalars = st.none() | st.booleans() | ints | st.floats(allow_nan=False) | st.text(max_size=20)
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner))


def hello(**changed: Any) -> dict[str, Any]:
    return {"op": "hello", "v": VERSION, "worker": "stranger", "role": "worker", "live": []} | changed


def frame(body: bytes, length: int | None = None) -> bytes:
    return struct.pack(">I", len(body) if length is None else length) + body


@st.composite
def messages(draw: st.DrawFn) -> dict[str, Any]:
    """Of the right shape, with one or more values that are not."""
    kind = draw(st.sampled_from(sorted(TYPES)))
    fields = TYPES[kind]
    data = {name.rstrip("?"): draw(values) for name in fields.data if draw(st.booleans())}
    sent: dict[str, Any] = {
        "op": draw(st.sampled_from(["append", "append", "append", "find", "erase", "hello", "x"])),
        "n": draw(st.integers(0, 9) | ints),
        "id": uuid7(),
        "type": kind,
        "call": draw(st.sampled_from([CALL, None])),
        "data": data | ({"at_ms": draw(st.integers(0, 10**6))} if draw(st.booleans()) else {}),
        "personal": {name.rstrip("?"): draw(values) for name in fields.personal},
    }
    for name in draw(st.lists(st.sampled_from(sorted(sent)), max_size=2)):
        sent[name] = draw(values)
    return sent


garbage = st.one_of(
    st.binary(max_size=200).map(frame),
    st.binary(max_size=200),
    values.map(lambda value: frame(_json(value))),
    messages().map(lambda sent: frame(_json(sent))),
    st.integers(MAX_FRAME, 2**32 - 1).map(lambda length: frame(b"x", length)),
)


def _json(value: Any) -> bytes:
    return orjson.dumps(value, default=str)


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fresh")
    make_home(folder)
    return folder


def survives(fresh: Path, chunks: list[bytes], greeting: dict[str, Any] | None, whole: bool) -> None:
    """Send it all on a line of its own, then be served on another; afterwards the log opens again and holds."""
    with tempfile.TemporaryDirectory(prefix="assent-fuzz-") as name:
        home = Home(Path(name) / "home")
        shutil.copytree(fresh, home.path)
        asyncio.run(_send(home, chunks, greeting, whole))
        assert home.verify() == []
        home.append([joined()])
        assert home.verify() == []


async def _send(home: Home, chunks: list[bytes], greeting: dict[str, Any] | None, whole: bool) -> None:
    async with serving(home, reclaim_seconds=0.0):
        good = await LedgerClient.connect(home.socket, "worker-1")
        call = received(uuid7())
        await good.append(call.type, call=call.call, data=call.data, personal=call.personal)
        reader, writer = await asyncio.open_unix_connection(str(home.socket))
        if greeting is not None:
            writer.write(frame(_json(greeting)))
            writer.write(frame(_json(message(received(CALL)))))
        for chunk in chunks:
            writer.write(chunk)
        await asyncio.wait_for(_answers(reader, writer, whole), 20)
        writer.close()
        await asyncio.wait_for(good.append("party.joined", call=call.call, data=joined().data, queue=False), 20)
        assert good.connected
        await good.close()


async def _answers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, whole: bool) -> None:
    """Until everything is answered, as far as it was understood, or the ledger has hung up, as it may."""
    heard = b""
    try:
        if whole:
            writer.write(frame(_json(of_call(n=LAST))))
        else:
            writer.write(b"\0\0")  # half a frame, and then nothing more
            writer.write_eof()
        while b'"n":%d' % LAST not in heard and (more := await reader.read(65536)):
            heard += more
    except OSError:
        return


@RUNS
@given(chunks=st.lists(garbage, max_size=12))
def test_before_the_hello(fresh: Path, chunks: list[bytes]) -> None:
    survives(fresh, chunks, None, whole=False)


@RUNS
@given(chunks=st.lists(messages().map(lambda sent: frame(_json(sent))), min_size=1, max_size=25))
def test_after_the_hello(fresh: Path, chunks: list[bytes]) -> None:
    survives(fresh, chunks, hello(), whole=True)


@RUNS
@given(chunks=st.lists(garbage, max_size=12), greeting=st.fixed_dictionaries({"worker": values, "live": values}))
def test_in_place_of_the_hello(fresh: Path, chunks: list[bytes], greeting: dict[str, Any]) -> None:
    survives(fresh, chunks, hello(**greeting), whole=False)


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def of_call(**changed: Any) -> dict[str, Any]:
    return message(joined(CALL), 2) | changed


FOUND: dict[str, list[dict[str, Any]]] = {
    "a number that no answer can carry": [of_call(n=2**60)],
    "a number below nothing": [of_call(n=-(2**60))],
    "nested one deeper in the event than in its data": [of_call(data={"at_ms": 1, "party": nested(15)})],
    "personal fields nested as deep": [of_call(personal={"address": nested(15)})],
    "the largest data and personal fields": [
        of_call(data={"at_ms": 1, "party": "x" * 46_960}, personal={"address": "a"})
    ],
    "a person who is no text": [of_call(personal={"address": {"a": 1}})],
    "a person of many zeros": [of_call(personal={"address": "0" * 100_000})],
    "a recording without a name": [message(permitted(CALL), 2), message(started(CALL), 3) | {"data": {"at_ms": 1}}],
    "a recording that is a list": [
        message(permitted(CALL), 2),
        message(started(CALL), 3) | {"data": dict(started().data) | {"recording": [1], "number": {}, "rate": []}},
    ],
}


@pytest.mark.parametrize("what", FOUND)
def test_what_would_have_stopped_the_writer(fresh: Path, what: str) -> None:
    survives(fresh, [frame(_json(sent)) for sent in FOUND[what]], hello(), whole=True)


def test_a_worker_whose_name_no_event_can_hold(fresh: Path) -> None:
    survives(fresh, [], hello(worker="w" * 100_000), whole=True)


def test_many_peers_that_never_finish(fresh: Path, tmp_path: Path) -> None:
    """Half frames cost the others nothing."""
    home = Home(tmp_path / "home")
    shutil.copytree(fresh, home.path)

    async def run() -> None:
        async with serving(home):
            lines = [await asyncio.open_unix_connection(str(home.socket)) for _ in range(100)]
            for _, writer in lines:
                writer.write(frame(b"{", 1000))
            good = await LedgerClient.connect(home.socket, "worker-1")
            await asyncio.wait_for(good.append("call.received", call=uuid7(), data=received().data), 20)
            for _, writer in lines:
                writer.close()
            await until(lambda: good.connected, "the good line")
            await good.close()

    asyncio.run(run())
    assert home.verify() == []


def test_an_event_that_cannot_be_signed_is_refused_alone(fresh: Path, tmp_path: Path) -> None:
    """The last line of defence, behind all that is checked when an event comes in."""
    home = Home(tmp_path / "home")
    shutil.copytree(fresh, home.path)

    async def run() -> list[Any]:
        log = home.open()
        writer = GroupWriter(log, checkpoint_events=100, checkpoint_seconds=60)
        answers: list[Any] = []
        for entry in (received(CALL), Entry("party.joined", CALL, {"x": nested(20)}), joined(CALL)):
            writer.put(entry, lambda ack, error: answers.append(ack or error))
        await until(lambda: len(answers) == 3, "three answers")
        assert not writer.failed.done()
        await writer.close()
        log.close()
        return answers

    first, bad, last = asyncio.run(run())
    assert (first.seq, last.seq) == (2, 3)
    assert isinstance(bad, LedgerRefused)
    assert home.verify() == []


def test_a_search_that_finds_more_than_a_message_holds(fresh: Path, tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    shutil.copytree(fresh, home.path)
    home.append([received(uuid7()) for _ in range(3000)])
    identity = x25519.Identity.generate()
    people = tmp_path / "people.txt"
    people.write_text(person_of("ann", Role.OFFICER, str(identity), str(identity.to_public())).line() + "\n")
    signer = Signer("ann", signing_key(str(identity)))

    async def run() -> int:
        async with serving(home, people=people):

            def find() -> int:
                with LedgerTool(home.socket, "test", signer) as tool:
                    found = tool.find("number", "+49 30 123456")
                    tool.append("call.received", call=uuid7(), data=received().data)
                    return len(found)

            return await asyncio.to_thread(find)

    assert asyncio.run(run()) == 3000

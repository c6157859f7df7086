# SPDX-License-Identifier: GPL-3.0-or-later
"""One server and its telephones a module; after every test the log is verified and replayed."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from demo.driver import Peer
from demo.server import Server, ivr
from sip.harness import ALICE_HZ, BOB_HZ, CAROL_HZ, House, Notices, consent, flow

_STORY = pytest.StashKey[str]()
# Prompts are found by the hash of what they say, so all servers may share them; each is spoken once a machine.
_PROMPTS = Path(tempfile.gettempdir()) / f"assent-test-prompts-{os.getuid()}"


@pytest.fixture(scope="session")
def notices(tmp_path_factory: pytest.TempPathFactory) -> Notices:
    """Short recorded notices."""
    return Notices(tmp_path_factory.mktemp("notices"))


def standard_flows(notices: Notices, bob: Peer, carol: Peer) -> dict[str, Any]:
    """The numbers that most tests ring."""
    to_bob, to_carol = bob.uri, carol.uri
    opt_out = consent(notices, "opt_out")
    return {
        "optout": flow("100", opt_out, to_bob),
        "erase": flow("110", consent(notices, "opt_out", on_withdraw="erase"), to_bob),
        "optin": flow("200", consent(notices, "opt_in"), to_bob),
        "required": flow("300", consent(notices, "required"), to_bob),
        "never": flow("400", consent(notices, "never"), to_bob, record="never"),
        "two": flow("500", opt_out, to_carol, to_bob, ring_time="3s"),
    }


@pytest.fixture(scope="module")
def settings() -> dict[str, dict[str, object]]:
    """Settings of the module's server; a module may override this."""
    return {}


@pytest.fixture(scope="module")
def house(
    tmp_path_factory: pytest.TempPathFactory, notices: Notices, settings: dict[str, dict[str, object]]
) -> Iterator[House]:
    """A running server with alice, bob and carol; at its end it stops in order and `ivr` agrees that the log holds."""
    folder = tmp_path_factory.mktemp("house")
    with (
        Peer("alice", tone=ALICE_HZ) as alice,
        Peer("bob", tone=BOB_HZ) as bob,
        Peer("carol", tone=CAROL_HZ) as carol,
    ):
        house = House(open_server(folder / "server", standard_flows(notices, bob, carol), settings))
        for peer in (alice, bob, carol):
            house.add(peer)
        with house.server:
            yield house
            for peer in house.peers.values():
                peer.close()
            assert house.server.stop() == 0, house.server.output
        judged_by_ivr(house.server)


def open_server(folder: Path, flows: dict[str, Any], settings: dict[str, dict[str, object]]) -> Server:
    """A server that listens. Its permits have time: these tests measure nothing, and the machine may be busy."""
    chosen = {"ledger": {"permit_timeout": "4s"}, "prompts": {"cache": str(_PROMPTS)}, **settings}
    server = Server(folder)
    server.create(flows, chosen)
    return server.start()


def judged_by_ivr(server: Server) -> None:
    """What an auditor would run, on what is left when the server is gone."""
    for command in ("verify", "replay"):
        done = ivr("log", command, "--config", server.folder)
        assert done.status == 0, f"ivr log {command}:\n{done.out}{done.err}"


@pytest.fixture(autouse=True)
def _omnibus(request: pytest.FixtureRequest) -> Iterator[None]:
    if "house" not in request.fixturenames:
        yield
        return
    house: House = request.getfixturevalue("house")
    house.begin()
    for peer in (house.peers["bob"], house.peers["carol"]):
        peer.incoming("answer", after_ms=200)
    yield
    request.node.stash[_STORY] = house.story()
    house.end()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """A failed test tells the whole story: log, telephones, server."""
    report = yield
    house = getattr(item, "funcargs", {}).get("house")
    if report.failed and isinstance(house, House):
        report.sections.append(("what happened", item.stash.get(_STORY, None) or house.story()))
    return report


@pytest.fixture
def alice(house: House) -> Peer:
    """The caller, 440 Hz."""
    return house.peers["alice"]


@pytest.fixture
def bob(house: House) -> Peer:
    """The agent, 1000 Hz."""
    return house.peers["bob"]


@pytest.fixture
def carol(house: House) -> Peer:
    """Another agent, 1300 Hz."""
    return house.peers["carol"]

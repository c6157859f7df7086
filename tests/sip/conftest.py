# SPDX-License-Identifier: GPL-3.0-or-later
"""One server and its telephones for all modules that want the same settings; after every test its log is verified and
replayed, and at its end `ivr` must agree."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from demo.driver import Peer
from demo.server import Server, ivr
from sip.harness import ALICE_HZ, BOB_HZ, CAROL_HZ, TWO_KEYS, House, Notices, consent, flow, with_menu, with_welcome

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
        "two_keys": flow("600", consent(notices, "opt_out", keys=TWO_KEYS), to_bob),
        "menu": with_menu(flow("700", opt_out, to_bob)),
        "welcome": with_welcome(with_menu(flow("800", opt_out, to_bob))),
    }


@pytest.fixture(scope="module")
def settings() -> dict[str, dict[str, object]]:
    """Settings of the module's server; a module may override this."""
    return {}


class Houses:
    """The house that stands: built when first wanted, rebuilt when other settings are wanted or its server is gone."""

    def __init__(self, folders: pytest.TempPathFactory, notices: Notices) -> None:
        self._folders = folders
        self._notices = notices
        self._stack = ExitStack()
        self._stands: tuple[dict[str, dict[str, object]], House] | None = None

    def open(self, settings: dict[str, dict[str, object]]) -> House:
        """A running server with these settings, and alice, bob and carol."""
        if self._stands is not None and self._stands[0] == settings and self._stands[1].server.runs:
            return self._stands[1]
        self.close()
        alice, bob, carol = (
            self._stack.enter_context(Peer(name, tone=hz))
            for name, hz in (("alice", ALICE_HZ), ("bob", BOB_HZ), ("carol", CAROL_HZ))
        )
        flows = standard_flows(self._notices, bob, carol)
        house = House(open_server(self._folders.mktemp("house") / "server", flows, settings))
        for peer in (alice, bob, carol):
            house.add(peer)
        self._stack.enter_context(house.server)
        self._stands = (settings, house)
        return house

    def close(self) -> None:
        """Stops the server in order; then the log must hold for whoever audits it."""
        stands, self._stands = self._stands, None
        with self._stack:
            if stands is not None:
                for peer in stands[1].peers.values():
                    peer.close()
                assert stands[1].server.stop() == 0, stands[1].server.output
                judged_by_ivr(stands[1].server)


@pytest.fixture(scope="session")
def houses(tmp_path_factory: pytest.TempPathFactory, notices: Notices) -> Iterator[Houses]:
    """Where `house` comes from; a server start costs more than a call."""
    houses = Houses(tmp_path_factory, notices)
    try:
        yield houses
    finally:
        houses.close()


@pytest.fixture(scope="module")
def house(houses: Houses, settings: dict[str, dict[str, object]]) -> House:
    """A running server with alice, bob and carol; shared with other modules that want the same settings."""
    return houses.open(settings)


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

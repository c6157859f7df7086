# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may call, how much, how fast, over what; and where calls to a trunk go."""

import re
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from demo.server import free_port
from edge_kit import EdgeServer, Sip, Ua
from ivr.node.edge.control import PlaceState

SMALL, FAST, CLOSED, WIDE, DEAD, LIVE = range(6)
AGENT, STRANGER, EACH = "127.0.0.3", "127.0.0.9", "127.0.7.1"
ADVERTISED = "203.0.113.7"


def certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """A new self-signed certificate for edge.example, and its key."""
    made = folder / f"{name}.pem", folder / f"{name}.key"
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "2",
    ]
    command += ["-subj", f"/CN={name}", "-addext", "subjectAltName=DNS:edge.example"]
    subprocess.run([*command, "-out", str(made[0]), "-keyout", str(made[1])], check=True, capture_output=True)
    return made


def has_ipv6() -> bool:
    """Containers often have no ::1. Then the one test that needs it fails, and not all that share an edge with it."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


class Place:
    """The edge of this module, and the ports by which its trunks are told apart."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ports = [free_port(30_000 + 100 * n, 30_098 + 100 * n) for n in range(6)]
        self.public = free_port(9_000, 9_990, 4)
        self.pem, self.key = folder / "tls.pem", folder / "tls.key"
        self.show(*certificate(folder, "first"))
        here = "127.0.0.1"
        trunks = [
            {"name": "small", "sources": [here], "port": self.ports[SMALL], "calls": 2},
            {"name": "fast", "sources": [here], "port": self.ports[FAST], "rate": 3},
            {"name": "closed", "sources": [here], "port": self.ports[CLOSED], "calls": 0},
            {"name": "each", "sources": ["127.0.7.0/24"], "source_calls": 1},
            {"name": "wide", "sources": [here, "::1"], "hosts": []},
            {"name": "carrier", "hosts": [f"sip:{here}:{self.ports[DEAD]}", f"sip:{here}:{self.ports[LIVE]}"]},
        ]
        listen = [
            {"address": here, "port": self.public, "transports": ["udp", "tcp"]},
            {"address": here, "port": self.public + 1, "transports": ["tls"]},
            *([{"address": "::1", "port": self.public}] if has_ipv6() else []),
            {"address": here, "port": self.public + 2, "advertise": ADVERTISED},
        ]
        tls = {"certificate": str(self.pem), "key": str(self.key)}
        edge = {"listen": listen, "trunks": trunks, "agents": [AGENT], "tls": tls}
        self.edge = EdgeServer(folder, workers=4, settings={"edge": edge})
        self.edge.port = self.public

    def show(self, pem: Path, key: Path) -> None:
        """Puts this certificate where the edge is told to look."""
        self.pem.write_bytes(pem.read_bytes())
        self.key.write_bytes(key.read_bytes())

    def caller(self, trunk: int) -> Ua:
        return Ua(self.edge.public, port=self.ports[trunk])


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    place = Place(tmp_path_factory.mktemp("trunks"))
    with place.edge:
        yield place


@pytest.fixture
def stack(place: Place) -> Iterator[ExitStack]:
    """Four workers that answer; at the end no call is left."""
    with ExitStack() as stack:
        yield stack
        for number in range(4):
            place.edge.tell(lambda control, name=f"w{number}": control.remove(name))
        place.edge.wait_status(lambda status: not any(one.calls for one in status.places))


@pytest.fixture
def workers(place: Place, stack: ExitStack) -> list[Ua]:
    made = [stack.enter_context(place.edge.worker(n)) for n in range(4)]
    place.edge.enable("w0", "w1", "w2", "w3")
    return made


def counted(place: Place, name: str) -> int:
    return place.edge.status().counters.get(name, 0)


# -- limits ----------------------------------------------------------------------------------------------------------


def test_a_trunk_has_so_many_calls_at_a_time(place: Place, stack: ExitStack, workers: list[Ua]) -> None:
    caller = stack.enter_context(place.caller(SMALL))
    up = [caller.call("400") for _ in range(2)]
    refused = caller.call("400")[1]
    assert [answer.status for _, answer in up] == [200, 200]
    assert (refused.status, bool(refused.get("Retry-After"))) == (503, True)
    assert counted(place, "refused_calls:small") == 1
    other = stack.enter_context(Ua(place.edge.public))
    assert other.call("400")[1].status == 200  # what one trunk lacks, another has
    assert caller.request(up[0][0], "BYE").status == 200
    assert caller.call("400")[1].status == 200


def test_a_trunk_has_so_many_new_calls_a_second(place: Place, stack: ExitStack, workers: list[Ua]) -> None:
    caller = stack.enter_context(place.caller(FAST))
    sent = [caller.invite("400") for _ in range(7)]
    statuses = sorted(caller.final(dialog).status for dialog in sent)
    # A burst may lie across two seconds.
    assert statuses.count(503) >= 1
    assert statuses.count(200) >= 3
    assert counted(place, "refused_rate:fast") == statuses.count(503)


def test_one_address_of_a_trunk_has_its_own_limit(place: Place, stack: ExitStack, workers: list[Ua]) -> None:
    first = stack.enter_context(Ua(place.edge.public, address=EACH))
    second = stack.enter_context(Ua(place.edge.public, address="127.0.7.2"))
    assert first.call("400")[1].status == 200
    assert first.call("400")[1].status == 503
    assert second.call("400")[1].status == 200
    assert counted(place, "refused_source_calls:each") == 1


def test_a_trunk_that_is_closed_and_an_agent_may_not_call(place: Place, stack: ExitStack, workers: list[Ua]) -> None:
    assert stack.enter_context(place.caller(CLOSED)).call("400")[1].status == 403
    assert stack.enter_context(Ua(place.edge.public, address=AGENT)).call("400")[1].status == 403
    assert not any(worker.count("INVITE") for worker in workers)


# -- strangers -------------------------------------------------------------------------------------------------------


def known_is_answered(place: Place) -> None:
    """Whatever was sent before this has been looked at."""
    with Ua(place.edge.public) as known:
        asked = known.options()
        known.wait(lambda m: m.call == asked.call and m.status > 0)


def test_a_stranger_is_answered_nothing_over_udp(place: Place, stack: ExitStack, workers: list[Ua]) -> None:
    before = counted(place, "strangers")
    stranger = stack.enter_context(Ua(place.edge.public, address=STRANGER))
    stranger.invite("400")
    stranger.options()
    for junk in ("SIP/2.0 200 OK\r\n\r\n", "INVITE", "\r\n\r\n", "x" * 2000):
        stranger.send(junk)
    known_is_answered(place)
    place.edge.wait_status(lambda status: status.counters.get("strangers", 0) >= before + 3)
    assert not stranger.seen
    assert not any(worker.seen for worker in workers)
    place.edge.wait_log(f"address={STRANGER}")
    assert place.edge.log.count(f"address={STRANGER}") == 1


def test_a_strangers_connection_says_nothing_and_ends(place: Place, stack: ExitStack) -> None:
    stranger = stack.enter_context(Ua(place.edge.public, kind="tcp", address=STRANGER))
    stranger.options()
    stranger.wait_until(lambda: stranger.gone, 30)
    assert not stranger.seen
    silent = stack.enter_context(Ua(place.edge.public, kind="tcp", address="127.0.0.8"))
    silent.wait_until(lambda: silent.gone, 30)
    assert not silent.seen


def test_a_scanner_at_a_known_address_is_answered_nothing(place: Place, stack: ExitStack) -> None:
    scanner = stack.enter_context(Ua(place.edge.public))
    scanner.options(["User-Agent: friendly-scanner"])
    known_is_answered(place)
    place.edge.wait_status(lambda status: status.counters.get("scanners", 0) >= 1)
    assert not scanner.seen


# -- transports ------------------------------------------------------------------------------------------------------


def both_ways(caller: Ua, workers: list[Ua]) -> None:
    """A call, a request from either side, and its end from the worker's."""
    dialog, answer = caller.call("400")
    assert answer.status == 200
    worker = next(one for one in workers if dialog.call in one.dialogs)
    worker.wait_request("ACK", dialog.call)
    assert caller.request(dialog, "INFO").status == 200
    assert worker.request(worker.dialogs[dialog.call], "INFO").status == 200
    assert worker.request(worker.dialogs[dialog.call], "BYE").status == 200
    caller.wait_request("BYE", dialog.call)


def test_a_call_over_tcp(place: Place, stack: ExitStack, workers: list[Ua]) -> None:
    both_ways(stack.enter_context(Ua(place.edge.public, kind="tcp")), workers)


def test_a_contact_that_is_a_name_is_not_looked_up(place: Place, stack: ExitStack, workers: list[Ua]) -> None:
    caller = stack.enter_context(Ua(place.edge.public))
    dialog, answer = caller.call("400", contact="sip:caller@pbx.invalid:5060")
    assert answer.status == 200
    worker = next(one for one in workers if dialog.call in one.dialogs)
    assert worker.request(worker.dialogs[dialog.call], "INFO").status == 200
    caller.wait_request("INFO", dialog.call)  # it goes to where the call came from
    place.edge.stop()
    place.edge.start()
    assert worker.request(worker.dialogs[dialog.call], "INFO").status == 200  # which the Record-Route has kept
    assert caller.count("INFO") == 2
    routes = worker.dialogs[dialog.call].routes
    worker.dialogs[dialog.call].routes = [route.replace(";far=", ";near=") for route in routes]
    assert worker.request(worker.dialogs[dialog.call], "INFO").status == 478
    assert caller.request(dialog, "BYE").status == 200


class Named(Ua):
    """Its Contact is a name, as that of many a telephone system."""

    def reply(self, request: Sip, status: int, body: str = "") -> str:
        return (
            super().reply(request, status, body).replace(f"Contact: <sip:ua@{self.at}", "Contact: <sip:ua@pbx.invalid")
        )


def test_an_agent_whose_contact_is_a_name_is_found_after_a_restart(
    place: Place, stack: ExitStack, workers: list[Ua]
) -> None:
    agent, worker, inside = stack.enter_context(Named(place.edge.public, address=AGENT)), workers[0], place.edge.inside
    route = f"<sip:{inside[0]}:{inside[1]};lr>"
    dialog, answer = worker.call(f"sip:desk@{agent.at}", routes=[route], to=inside)
    assert answer.status == 200
    assert worker.request(dialog, "INFO").status == 200
    place.edge.stop()
    place.edge.start()
    assert worker.request(dialog, "INFO").status == 200
    assert agent.count("INFO") == 2
    kept = dialog.routes
    dialog.routes = [route.replace(";far=", ";near=") for route in kept]
    assert worker.request(dialog, "INFO").status == 478
    stranger = f"sip:{STRANGER}:5060;transport=udp".encode().hex()
    dialog.routes = [re.sub(";far=[0-9a-f]+", f";far={stranger}", route) for route in kept]
    assert worker.request(dialog, "INFO").status == 403  # whoever makes one up gets no further than without
    dialog.routes = kept
    assert worker.request(dialog, "BYE").status == 200
    agent.wait_request("BYE", dialog.call)


def trusting(pem: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(pem))
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def test_a_call_over_tls_outlives_a_new_certificate(place: Place, stack: ExitStack, workers: list[Ua]) -> None:
    to = (place.edge.public[0], place.public + 1)
    context = trusting(place.pem)
    caller = stack.enter_context(Ua(to, kind="tls", context=context))
    both_ways(caller, workers)
    dialog, answer = caller.call("400")
    assert answer.status == 200
    pem, key = certificate(place.folder, "second")
    # A key that is another's is refused, and what runs stays.
    place.show(pem, place.key)
    refused = place.edge.ivr("edge", "reload-certificates")
    assert refused.status == 2
    assert "is not the key of" in refused.err
    with Ua(to, kind="tls", context=context) as other:
        assert other.certificate == caller.certificate
    place.show(pem, key)
    assert place.edge.ivr("edge", "reload-certificates").status == 0
    assert caller.request(dialog, "INFO").status == 200
    later = stack.enter_context(Ua(to, kind="tls", context=trusting(place.pem)))
    assert later.certificate != caller.certificate
    both_ways(later, workers)
    assert caller.request(dialog, "BYE").status == 200


def test_old_tls_is_refused(place: Place) -> None:
    connect = f"{place.edge.public[0]}:{place.public + 1}"
    for version, shown in (("-tls1_1", False), ("-tls1_2", True)):
        command = ["openssl", "s_client", version, "-cipher", "DEFAULT@SECLEVEL=0", "-connect", connect]
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20, check=False
        )
        assert ("BEGIN CERTIFICATE" in done.stdout) is shown, done.stdout


def test_a_call_over_ipv6_with_ipv4_audio(place: Place, stack: ExitStack, workers: list[Ua]) -> None:
    assert has_ipv6(), "this test needs ::1: sysctl net.ipv6.conf.lo.disable_ipv6=0"
    caller = stack.enter_context(Ua(("::1", place.public), address="::1"))
    body = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n"
    dialog, answer = caller.call("400", body=body)
    assert answer.status == 200
    worker = next(one for one in workers if dialog.call in one.dialogs)
    assert worker.request(worker.dialogs[dialog.call], "INFO").status == 200
    assert caller.request(dialog, "BYE").status == 200
    assert caller.call("400")[1].status == 488  # and with IPv6 audio it is refused


def test_behind_nat_only_the_advertised_address_is_written(place: Place, stack: ExitStack, workers: list[Ua]) -> None:
    to = (place.edge.public[0], place.public + 2)
    caller = stack.enter_context(Ua(to))
    dialog, answer = caller.call("400")
    assert answer.status == 200
    assert f"<sip:{ADVERTISED}:{to[1]};" in answer.raw
    worker = next(one for one in workers if dialog.call in one.dialogs)
    assert worker.request(worker.dialogs[dialog.call], "INFO").status == 200
    assert caller.request(dialog, "BYE").status == 200
    for message in caller.seen:
        if not message.status:
            assert f"SIP/2.0/UDP {ADVERTISED}:{to[1]};" in message.raw


# -- to a trunk ------------------------------------------------------------------------------------------------------


def dial(place: Place, worker: Ua, uri: str) -> Sip:
    inside = place.edge.inside
    return worker.call(uri, routes=[f"<sip:{inside[0]}:{inside[1]};lr>"], to=inside)[1]


def test_a_call_to_a_trunk_goes_to_the_first_host_that_answers(
    place: Place, stack: ExitStack, workers: list[Ua]
) -> None:
    live = stack.enter_context(Ua(place.edge.public, port=place.ports[LIVE]))
    assert dial(place, workers[0], "sip:+4930123456@carrier").status == 200
    (invite,) = [m for m in live.seen if m.method == "INVITE" and not m.status]
    assert invite.start == f"INVITE sip:+4930123456@127.0.0.1:{place.ports[LIVE]} SIP/2.0"
    host = next(one for one in place.edge.status().hosts if one.name == "carrier/0")
    assert host.state is PlaceState.SILENT
    # The dead one is not waited for again, until it answers.
    assert dial(place, workers[0], "sip:2@carrier").status == 200
    first = stack.enter_context(Ua(place.edge.public, port=place.ports[DEAD], answer=lambda m: 200))
    place.edge.wait_status(
        lambda status: all(one.state is PlaceState.ACTIVE for one in status.hosts if one.name == "carrier/0")
    )
    assert dial(place, workers[0], "sip:3@carrier").status == 200
    assert first.count("INVITE") == 1


@pytest.mark.parametrize("status", [503, 500, 408])
def test_a_host_that_cannot_is_passed_over(place: Place, stack: ExitStack, workers: list[Ua], status: int) -> None:
    answer = lambda m: status if m.method == "INVITE" else 200  # noqa: E731
    first = stack.enter_context(Ua(place.edge.public, port=place.ports[DEAD], answer=answer))
    place.edge.wait_status(
        lambda status: all(one.state is PlaceState.ACTIVE for one in status.hosts if one.name == "carrier/0")
    )
    live = stack.enter_context(Ua(place.edge.public, port=place.ports[LIVE]))
    assert dial(place, workers[0], "sip:1@carrier").status == 200
    assert (first.count("INVITE"), live.count("INVITE")) == (1, 1)


def test_a_busy_number_is_not_rung_over_another_host(place: Place, stack: ExitStack, workers: list[Ua]) -> None:
    answer = lambda m: 486 if m.method == "INVITE" else 200  # noqa: E731
    first = stack.enter_context(Ua(place.edge.public, port=place.ports[DEAD], answer=answer))
    live = stack.enter_context(Ua(place.edge.public, port=place.ports[LIVE], answer=answer))
    place.edge.wait_status(
        lambda status: all(one.state is PlaceState.ACTIVE for one in status.hosts if one.name == "carrier/0")
    )
    assert dial(place, workers[0], "sip:1@carrier").status == 486
    assert first.count("INVITE") + live.count("INVITE") == 1


# -- the process -----------------------------------------------------------------------------------------------------


def test_calls_go_on_when_the_edge_is_restarted(place: Place, stack: ExitStack, workers: list[Ua]) -> None:
    edge = place.edge
    callers = [stack.enter_context(Ua(edge.public)) for _ in range(4)]
    made = [caller.call("400") for caller in callers]
    assert [answer.status for _, answer in made] == [200] * 4
    before = edge.tell(lambda control: control.run())
    assert before == edge.tell(lambda control: control.run())
    assert edge.stop() == 0
    edge.start()
    assert edge.tell(lambda control: control.run()) != before  # by this a pool sees that it must say again who is there
    assert all(one.state is PlaceState.OUT for one in edge.status().places)
    for caller, (dialog, _) in zip(callers[:2], made[:2], strict=True):
        assert caller.request(dialog, "INFO").status == 200
        assert caller.request(dialog, "BYE").status == 200
    for caller, (dialog, _) in zip(callers[2:], made[2:], strict=True):
        worker = next(one for one in workers if dialog.call in one.dialogs)
        assert worker.request(worker.dialogs[dialog.call], "BYE").status == 200
        caller.wait_request("BYE", dialog.call)
    edge.enable("w0")
    assert stack.enter_context(Ua(edge.public)).call("400")[1].status == 200

# SPDX-License-Identifier: GPL-3.0-or-later
"""Strange and hostile datagrams at a real server's SIP port: it stays up, and nothing they say is taken for consent.

The strange ones are of the kinds that RFC 4475 (SIP torture tests) describes, in words of our own.
"""

import random
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from demo.driver import Peer
from demo.server import answers_sip
from sip.conftest import judged_by_ivr, open_server
from sip.harness import ALICE_HZ, BOB_HZ, House, Notices, both_hear, consent, flow

RANDOM = 300
SEED = 9
FORBIDDEN = ("consent.decided", "consent.withdrawn", "recording.permitted", "recording.started", "party.preferred")
SDP = (
    "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
    "m=audio 9 RTP/AVP 8\r\na=recordpref:on\r\n"
)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[House]:
    notices = Notices(tmp_path)
    with Peer("alice", tone=ALICE_HZ) as alice, Peer("bob", tone=BOB_HZ) as bob:
        flows = {"optin": flow("200", consent(notices, "opt_in"), bob.uri)}
        place = House(open_server(tmp_path / "server", flows, {"limits": {"media_timeout": "8s"}}))
        place.add(alice)
        place.add(bob)
        bob.incoming("answer", after_ms=100)
        with place.server:
            yield place
        judged_by_ivr(place.server)


def request(method: str = "INVITE", uri: str = "sip:200@127.0.0.1", body: str = "", **changed: str) -> str:
    """A request that is right but for what is changed; an empty value leaves a header out."""
    fields = {
        "Via": "SIP/2.0/UDP 127.0.0.1:9;rport;branch=z9hG4bKx",
        "From": "<sip:eve@127.0.0.1>;tag=1",
        "To": "<sip:200@127.0.0.1>",
        "Call-ID": "torture",
        "CSeq": f"1 {method}",
        "Contact": "<sip:eve@127.0.0.1:9>",
        "Max-Forwards": "5",
        "Content-Length": str(len(body)),
    } | {name.replace("_", "-"): value for name, value in changed.items()}
    lines = [f"{name}: {value}" for name, value in fields.items() if value]
    return "\r\n".join([f"{method} {uri} SIP/2.0", *lines, "", body])


STRANGE = [
    "",
    "\r\n\r\n",
    "\0" * 100,
    "INVITE",
    "INVITE sip:200@127.0.0.1 SIP/7.0\r\n\r\n",
    "SIP/2.0 200 OK\r\n\r\n",
    "SIP/2.0 99999 \r\nVia: x\r\n\r\n",
    request(Content_Length="9999"),
    request(Content_Length="-1"),
    request(Content_Length="99999999999999999999"),
    request(CSeq="99999999999999999999 INVITE"),
    request(CSeq="1 BYE"),
    request(CSeq=""),
    request(Via=""),
    request(Via="SIP/2.0/UDP " + "a" * 3000),
    request(To=""),
    request(Call_ID=""),
    request(Max_Forwards="0"),
    request(Max_Forwards="-5"),
    request(From='"unterminated <sip:eve@127.0.0.1>;tag=1'),
    request(From="<sip:eve@[::1>;tag=1"),
    request(From="<sip:" + "0" * 3000 + "@127.0.0.1>;tag=1"),
    request(From="<" + "sip:" * 700 + ">;tag=1"),
    request(Contact="*"),
    request(Contact="<sip:>"),
    request(Require="nothing-that-exists"),
    request(uri="sip:"),
    request(uri="<sip:200@127.0.0.1>"),
    request(uri="sip:%00%ff@127.0.0.1"),
    request(uri="unknown-scheme:200"),
    request(uri="sip:200@127.0.0.1;a=" + "b" * 2000),
    request(body="v=0", Content_Type="application/sdp"),
    request(body=SDP[:40], Content_Type="application/sdp"),
    request(body="m=audio 99999 RTP/AVP 8\r\n" * 50, Content_Type="application/sdp"),
    request(body="x" * 2000, Content_Type="multipart/mixed;boundary="),
    request("BYE", Call_ID="nobody"),
    request("CANCEL", Call_ID="nobody"),
    request("ACK", Call_ID="nobody"),
    request("INFO", body="Signal=1\r\nDuration=100\r\n", Content_Type="application/dtmf-relay", Call_ID="nobody"),
    request("UPDATE", body=SDP, Content_Type="application/sdp", Call_ID="nobody"),
    request("PRACK", Call_ID="nobody", RAck="1 1 INVITE"),
    request("REFER", Refer_To="<sip:x@127.0.0.1>", Call_ID="nobody"),
    request("NOTIFY", Event="refer", Call_ID="nobody"),
    request("REGISTER"),
    request("SUBSCRIBE", Event="presence"),
    request("MESSAGE", body="1"),
    request("!#$%&'*+-.^_`|~token"),
]


def datagrams() -> Iterator[bytes]:
    """The strange ones, and random ones: bytes, and valid requests with bytes changed."""
    rng = random.Random(SEED)
    yield from (text.encode() for text in STRANGE)
    for number in range(RANDOM):
        if number % 3 == 0:
            yield rng.randbytes(rng.randrange(1500))
            continue
        # An unknown number: a mutant that is still right shall not become a call.
        method = rng.choice(["INVITE", "OPTIONS", "BYE", "INFO", "ACK"])
        valid = request(method, "sip:404@127.0.0.1", SDP, Content_Type="application/sdp", Call_ID=f"r{number}")
        raw = bytearray(valid.encode())
        for _ in range(rng.randrange(1, 12)):
            raw[rng.randrange(len(raw))] = rng.randrange(256)
        yield bytes(raw)


def test_a_server_that_anybody_can_write_to(place: House) -> None:
    alice, bob = place.peers["alice"], place.peers["bob"]
    port, worker = place.server.port, place.server.part("worker")
    line = place.ring(alice, "200")
    line.wait("notice.started")
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as stranger:
        for number, datagram in enumerate(datagrams()):
            stranger.sendto(datagram, ("127.0.0.1", port))
            # At the server's pace: what a full buffer drops would test nothing.
            if number % 20 == 19:
                assert answers_sip(port, 5.0), f"dead after datagram {number}: {datagram!r}"
    assert answers_sip(port, 5.0)
    assert place.server.part("worker") == worker, place.server.output[-3000:]
    # The call that was up meanwhile goes its own way: nobody pressed a key, so it is not recorded.
    bob.wait("confirmed", within=20)
    both_hear(line, bob)
    line.hang_up()
    line.unrecorded()
    # A stranger whose INVITE was answered and who never sends ACK is given up when no media comes.
    place.wait_idle(within=30)
    assert "granted" not in line.decided()
    strangers = [e for e in place.events() if e.call != line.call and e.type in FORBIDDEN]
    assert not strangers, strangers
    place.end()

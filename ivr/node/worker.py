# SPDX-License-Identifier: GPL-3.0-or-later
"""One worker process: a SIP user agent, at most two calls, no signing key, no decryption key, no database."""

import asyncio
import gc
import getpass
import logging
import sys
from collections.abc import Callable
from typing import Any

from ivr.calls.services import Services
from ivr.calls.session import Session
from ivr.ledger.client import LedgerClient
from ivr.ledger.keyring import CurrentKey
from ivr.node.admission import HOLD_S, Admission
from ivr.node.edge.model import behind_edge
from ivr.node.load import CALL_RATE, Loaded
from ivr.node.observe.workerstats import worker_stats
from ivr.node.pool.slots import Slot, slot
from ivr.node.settings import Settings, Transport
from ivr.sip.endpoint import Endpoint, EndpointSettings
from ivr.sip.events import Invite
from ivr.sip.leg import Leg
from ivr.vault.spool import Spool
from ivr.vault.store import RecordingStore

log = logging.getLogger(__name__)

LEDGER_WAIT_S = 15.0
NOT_FOUND, BUSY, UNAVAILABLE = 404, 486, 503


class Worker:
    """Takes calls and starts a session for each. Owned by the event loop."""

    def __init__(self, loaded: Loaded, name: str, ledger: LedgerClient, place: Slot | None = None) -> None:
        """`place`: where it listens; that of the pool's first worker when it is left out."""
        self._loaded = loaded
        self._limits = loaded.settings.limits
        self._sessions: dict[str, Session] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._ledger = ledger
        self.draining = False
        self.served = 0
        """Calls that it has taken, those that are up included."""
        self.on_change: Callable[[], None] = lambda: None
        """Called when a call came or went."""
        self.stop_reason: str | None = "signal"
        """Why it drains when it is stopped; None: somebody else says so in the log."""
        self._admission = Admission(asyncio.get_running_loop().time())
        self._idle = asyncio.Event()
        self._idle.set()
        settings = _endpoint_settings(loaded.settings, place or slot(loaded.settings, 0))
        self.endpoint = Endpoint(settings, self._incoming)
        self._services = self._make_services(name)
        self._flow_hashes = loaded.flow_hashes()
        ledger.on_state = self._ledger_state

    def _make_services(self, name: str) -> Services:
        settings, loaded = self._loaded.settings, self._loaded
        storage = settings.storage
        return Services(
            endpoint=self.endpoint,
            ledger=self._ledger,
            vkey=CurrentKey(settings.keys.ledger_public),
            store=RecordingStore(
                storage.recordings,
                storage.keystore,
                settings.keys.recipients,
                min_free_bytes=settings.storage.min_free * 1_000_000,
                # No network and no credentials: it notes what must go from the archive, another process does it.
                spool=Spool(storage.archive.folder) if storage.archive else None,
            ),
            flows=loaded.flows,
            prompts=loaded.prompts,
            cache=loaded.cache,
            worker=name,
            rate=CALL_RATE,
            permit_timeout_ms=settings.ledger.permit_timeout.ms,
            max_call_ms=settings.limits.max_call_time.ms,
            media_timeout_ms=settings.limits.media_timeout.ms,
            info_keys=settings.sip.info_dtmf,
            inband_keys=settings.sip.inband_dtmf,
        )

    # -- calls ---------------------------------------------------------------------------------------------------

    def _incoming(self, leg: Leg, invite: Invite) -> None:
        flow = self._loaded.flows.flow_for(invite.dialled)
        loop = asyncio.get_running_loop()
        if not self._admission.admit(loop.time()):
            loop.call_later(HOLD_S, leg.reject, BUSY)
        elif self.draining:
            leg.reject(UNAVAILABLE, "Draining")
        elif flow is None:
            log.info("no flow for the number that was dialled: 404")
            leg.reject(NOT_FOUND)
        elif len(self._sessions) >= self._limits.calls:
            leg.reject(BUSY)
        else:
            session = Session(self._services, leg, invite, flow, self._flow_hashes[flow.name])
            self._sessions[session.call] = session
            self._idle.clear()
            self.served += 1
            self.on_change()
            task = asyncio.get_running_loop().create_task(session.run(), name=session.call)
            self._tasks.add(task)
            task.add_done_callback(self._ended)
            log.info("call %s: flow %s", session.call, flow.name, extra=session.trace.fields)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        session = self._sessions.pop(task.get_name(), None)
        if not task.cancelled() and task.exception() is not None:
            log.error("call %s broke", task.get_name(), exc_info=task.exception())
        if session is not None:
            log.info("call %s: %s (%s)", session.call, *session.outcome, extra=session.trace.fields)
        # First the manager's beat, then the end of a drain, which holds up the loop: it would be blamed for a call.
        self.on_change()
        if not self._sessions:
            self._idle.set()

    def live_calls(self) -> list[str]:
        """Calls that are up, so that a ledger that restarts does not take them for lost."""
        return list(self._sessions)

    def _ledger_state(self, connected: bool) -> None:
        if connected:
            log.info("the ledger is back")
            return
        log.error("the ledger is gone: calls go on unrecorded")
        for session in list(self._sessions.values()):
            session.ledger_lost()

    def end_call(self, call: str, reason: str) -> None:
        """Ends one call from our side; nothing when it is not up."""
        session = self._sessions.get(call)
        if session is not None:
            session.end(reason)

    def stats(self) -> dict[str, Any]:
        """Figures for the metrics of the node, as JSON can carry them; they travel with the beat to the manager."""
        return worker_stats(self._sessions.values(), self._services.media)

    # -- end -----------------------------------------------------------------------------------------------------

    def drain_now(self, reason: str, *, say: bool = True) -> None:
        """No new calls until `undrain`; running ones go on. `say`: the log says so, as a fact about the node."""
        self.draining = True
        if say:
            self._ledger.append("node.draining", call=None, data={"reason": reason})

    def undrain(self) -> None:
        """Takes new calls again."""
        self.draining = False

    async def drain(self, reason: str | None) -> None:
        """No new calls; running ones finish within `drain_timeout`, then they are ended. None: not said in the log."""
        self.drain_now(reason or "", say=reason is not None)
        if self._sessions:
            log.info("draining: %d calls are up, at most %s", len(self._sessions), self._limits.drain_timeout)
        try:
            async with asyncio.timeout(self._limits.drain_timeout.ms / 1000):
                await self._idle.wait()
        except TimeoutError:
            log.warning("drain_timeout: %d calls are ended", len(self._sessions))
            for session in list(self._sessions.values()):
                session.end("drain_timeout")
            await asyncio.wait(self._tasks, timeout=10) if self._tasks else None


def _endpoint_settings(settings: Settings, place: Slot) -> EndpointSettings:
    sip, media = settings.sip, settings.media
    proxy, domain = behind_edge(settings)
    return EndpointSettings(
        address=place.sip_address,
        port=place.sip_port,
        udp=bool(proxy) or Transport.UDP in sip.transports,
        tcp=not proxy and Transport.TCP in sip.transports,
        media_address=media.address,
        public_address=media.public_address or "",
        rtp_port=place.rtp_port,
        rtp_range=place.rtp_range,
        codecs=tuple(codec.value for codec in sip.codecs),
        rate=CALL_RATE,
        user_agent=sip.user_agent,
        proxy=proxy,
        domain=domain,
    )


async def adopt(loaded: Loaded, ledger: LedgerClient) -> None:
    """Says in the log which flows and settings this worker goes by; returns when that is durable.

    The worker says it and not whoever started it: after a restart it may have loaded other ones.
    """
    await ledger.append(
        "policy.adopted",
        call=None,
        data={"flows": loaded.flow_hashes(), "settings_sha256": loaded.settings_sha256},
        personal={"by": getpass.getuser()},
    )


async def run_worker(
    loaded: Loaded,
    name: str,
    stop: asyncio.Event,
    on_ready: Callable[[Worker], None],
    place: Slot | None = None,
) -> None:
    """Serves calls until `stop` is set, then drains. Raises LedgerUnavailable, EndpointError, VaultError."""
    # The media thread waits for the interpreter at most this long; the default of 5 ms is a quarter of a frame.
    sys.setswitchinterval(0.001)
    # What is loaded by now lives as long as the process: no collection need look at it again.
    gc.collect()
    gc.freeze()
    live: list[Worker] = []
    ledger = await LedgerClient.connect(
        loaded.settings.ledger.socket,
        name,
        live_calls=lambda: live[0].live_calls() if live else [],
        wait=LEDGER_WAIT_S,
        patience=loaded.settings.ledger.answer_timeout.ms / 1000,
    )
    try:
        worker = Worker(loaded, name, ledger, place)
        live.append(worker)
        try:
            worker.endpoint.start()
            await adopt(loaded, ledger)
            on_ready(worker)
            await stop.wait()
            await worker.drain(worker.stop_reason)
        finally:
            worker.endpoint.stop()
    finally:
        await ledger.close()

# SPDX-License-Identifier: GPL-3.0-or-later
"""Does what the consent machine decided for one call: speak, stop the notice, open and close recorders."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any

from ivr.calls.recorder import CallRecorder
from ivr.calls.speaker import Playback, Played
from ivr.consent import inputs as i
from ivr.consent.effects import Message
from ivr.ledger.note import NoteError
from ivr.ledger.permit import PermitError, verify_permit
from ivr.sip.recorder import RecorderError
from ivr.vault.errors import VaultError
from ivr.vault.segments import SegmentFact
from ivr.vault.store import Erasure
from ivr.vault.writer import RecordingSummary

if TYPE_CHECKING:
    from ivr.calls.session import Session

log = logging.getLogger(__name__)

ERASE_AGAIN_S = (0.2, 1.0, 3.0, 0.0)
"""After each try that failed. Together less than the end of a call may take; then it is left to retention."""


def sent_facts(session: "Session", played: Played | None) -> dict[str, Any]:
    """How far a prompt came, as an event says it."""
    paths = sorted(session.driver.state.key_paths)
    if played is None:
        return {"samples_sent": 0, "packets_sent": 0, "packets_lost": None, "key_paths": paths}
    return {
        "samples_sent": played.samples_sent,
        "packets_sent": played.packets_sent,
        "packets_lost": played.packets_lost,
        "key_paths": paths,
    }


class CallHands:
    """The effects of one call's machine. Implements ivr.calls.driver.Hands."""

    def __init__(self, session: "Session") -> None:
        self._session = session
        self._notice: Playback | None = None
        self._notice_reason = "decided"
        self._recorder: CallRecorder | None = None
        self._stopping: dict[int, asyncio.Event] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._settled: asyncio.Future[bool] | None = None
        self._answers = 0

    # -- the consent step ----------------------------------------------------------------------------------------

    def expect_settled(self) -> "asyncio.Future[bool]":
        """The answer of the consent step that is about to be asked."""
        self._settled = asyncio.get_running_loop().create_future()
        return self._settled

    def settled(self, recordable: bool) -> None:
        """The consent step is over."""
        if self._settled is not None and not self._settled.done():
            self._settled.set_result(recordable)

    def notice_plays(self, playback: Playback | None) -> None:
        """Which playback is the notice, so that it can be stopped; None when it no longer plays."""
        self._notice = playback

    def notice_ended(self, playback: Playback) -> bool:
        """The notice came to its own end. False when it had been stopped before."""
        ended = self._notice is playback
        self._notice = None
        return ended

    def stop_notice(self) -> None:
        """Silence the notice now; the log hears how far it came."""
        self.notice_cut("stopped")

    def notice_cut(self, reason: str) -> None:
        """The notice ends here, before its last sample. Nothing when it does not play."""
        notice, self._notice = self._notice, None
        if notice is not None:
            played = notice.stop()
            self._session.driver.tell(i.NoticeInterrupted(reason), **sent_facts(self._session, played))

    # -- speaking ------------------------------------------------------------------------------------------------

    def say(self, party: str, message: Message) -> None:
        """Tells a party something, after what it is hearing from us now."""
        session = self._session
        agent = session.agent
        listener = session.caller if party == i.CALLER else agent if agent and agent.name == party else None
        file = session.message(message.value)
        if listener is not None and listener.leg.down is None and file is not None:
            speaker, to_caller = listener.speaker, party == i.CALLER
            self._answers += to_caller

            async def speak() -> None:
                try:
                    await speaker.say(file)
                finally:
                    self._answers -= to_caller

            self._spawn(speak())

    @property
    def answers(self) -> bool:
        """Whether the caller is being told, or is about to be told, what came of a decision."""
        return self._answers > 0

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("call %s: %r", self._session.call, error)

    # -- recording -----------------------------------------------------------------------------------------------

    @property
    def lag_s(self) -> float | None:
        """Audio of the running recording that is not sealed yet, in seconds; None when nothing is recorded."""
        return self._recorder.lag_s if self._recorder is not None else None

    def start_recording(self, number: int, permit: str) -> None:
        """Opens the recorder with the permit that came back from the ledger, verified here once more."""
        session, services = self._session, self._session.services
        try:
            verified = verify_permit(permit, services.vkey(), call=session.call)
            recorder = CallRecorder(
                verified,
                services.store,
                services.rate,
                session.journal.now_ms,
                lambda reason: session.driver.tell(i.RecorderFailed(number, reason)),
                lambda sealed: self._sealed(number, verified.recording, sealed),
                services.drains,
                services.endpoint.ticks,
            )
        except (PermitError, NoteError, RecorderError, VaultError) as error:
            log.error("call %s: no recorder: %s", session.call, error)
            session.driver.tell(i.RecorderFailed(number, type(error).__name__))
            return
        self._recorder = recorder
        session.journal.attend()
        self._spawn(self._start(number, recorder))

    async def _start(self, number: int, recorder: CallRecorder) -> None:
        session = self._session
        agent = session.agent
        if agent is None:
            session.driver.tell(i.RecorderFailed(number, "no_agent"))
            return
        try:
            await recorder.start(session.caller.leg, agent.leg)
        except (RecorderError, VaultError) as error:
            if recorder is not self._recorder:
                return  # stopped before its first sample: no failure, and said by whoever stopped it
            log.error("call %s: the recorder did not start: %s", session.call, error)
            session.driver.tell(i.RecorderFailed(number, type(error).__name__))
            return
        session.driver.tell(
            i.RecorderStarted(number),
            recording=recorder.permit.recording,
            rate=session.services.rate,
            recipient=recorder.recipient,
        )
        if recorder is self._recorder:  # it may have been stopped while its key was on the way to the disk
            self._indicate("on")

    def _indicate(self, state: str) -> None:
        """RFC 7866 section 7.1.2: record-aware peers are told by SDP as well."""
        for party in (self._session.caller, self._session.agent):
            if party is not None and party.up is not None and party.up.record_aware:
                try:
                    party.leg.indicate(state)
                except Exception as error:
                    log.debug("record indication: %s", error)

    def pause_recording(self, number: int, reason: str) -> None:
        """No sample from now on."""
        self._change(number, CallRecorder.pause)
        self._session.note("recording.paused", {"number": number, "reason": reason})
        self._indicate("paused")

    def _change(self, number: int, change: Callable[[CallRecorder], None]) -> None:
        if self._recorder is None:
            return
        try:
            change(self._recorder)
        except VaultError as error:
            log.error("call %s: %s", self._session.call, error)
            self._session.driver.tell(i.RecorderFailed(number, type(error).__name__))

    def resume_recording(self, number: int) -> None:
        """Samples again."""
        self._change(number, CallRecorder.resume)
        self._session.note("recording.resumed", {"number": number})
        self._indicate("on")

    def stop_recording(self, number: int, reason: str, erase: bool) -> None:
        """Not a sample after this moment; the log hears what was kept."""
        recorder, self._recorder = self._recorder, None
        self._session.journal.leave()
        if recorder is None:
            self._stopped(number, reason, None, erase)
            return
        stopping = recorder.stop(reason, erase=erase)

        done = self._stopping[number] = asyncio.Event()

        async def finish() -> None:
            try:
                self._stopped(number, reason, await stopping.wait(), erase, recorder.reported)
            finally:
                done.set()

        self._spawn(finish())
        self._indicate("off")

    def _sealed(self, number: int, recording: str, segments: Sequence[SegmentFact]) -> None:
        """A long recording names its segments as it goes: one log entry holds 64 KiB."""
        facts = {"recording": recording, "number": number, "segments": [_segment(s) for s in segments]}
        self._session.note("recording.sealed", facts)

    def _stopped(
        self, number: int, reason: str, summary: RecordingSummary | None, erase: bool, reported: int = 0
    ) -> None:
        session = self._session
        recording = session.driver.recordings[number]
        erased = bool(summary and summary.erasure)
        session.driver.tell(
            i.RecorderStopped(number),
            recording=recording,
            reason=reason,
            rate=session.services.rate,
            samples=summary.samples if summary else 0,
            spans=[[s.start, s.samples, s.at_ms] for s in summary.spans] if summary else [],
            segments=[_segment(s) for s in summary.segments[reported:]] if summary else [],
            erased=erased,
        )
        if summary is not None and summary.erasure is not None:
            session.note("recording.erased", _erased(recording, reason, summary.erasure))
        elif erase:
            self.erase_recording(number)

    def erase_recording(self, number: int) -> None:
        """Destroys an earlier recording of this call; it has stopped."""
        session = self._session
        recording = session.driver.recordings[number]

        async def erase() -> None:
            if stopping := self._stopping.get(number):
                await stopping.wait()  # its last segment may still be on the way to the disk
            for pause in ERASE_AGAIN_S:
                try:
                    erasure = await asyncio.to_thread(session.services.store.erase, session.call, recording)
                except VaultError as error:
                    log.error("call %s: recording %s is not erased: %s", session.call, recording, error)
                    if pause == ERASE_AGAIN_S[0]:  # once is enough: that it is still to be done
                        facts = {"recording": recording, "reason": "withdrawn", "error": type(error).__name__}
                        session.note("recording.not_erased", facts)
                    await asyncio.sleep(pause)
                else:
                    session.note("recording.erased", _erased(recording, "withdrawn", erasure))
                    return

        self._spawn(erase())

    async def spoken(self) -> None:
        """Waits until what was to be said to the caller has been said."""
        async with self._session.caller.speaker.turn:
            pass

    async def closed(self) -> None:
        """Waits until nothing is being spoken or written any more."""
        while self._tasks:
            await asyncio.wait(self._tasks)


def _erased(recording: str, reason: str, erasure: Erasure) -> dict[str, Any]:
    data: dict[str, Any] = {"recording": recording, "reason": reason, "segments": erasure.files}
    return {**data, "archived": erasure.archived} if erasure.archived else data


def _segment(fact: SegmentFact) -> dict[str, object]:
    return {name: getattr(fact, name) for name in ("n", "start", "samples", "sha256", "bytes")}

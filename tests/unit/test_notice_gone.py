# SPDX-License-Identifier: GPL-3.0-or-later
"""A notice that cannot begin: a caller who has left is no failed notice; what a leg that stands cannot play is."""

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from ivr.calls.session import Session
from ivr.calls.verbs import consent
from ivr.consent import inputs as i
from ivr.consent.state import Standing
from media.cache import PromptFile

NOTICE = PromptFile(Path("notice.wav"), "This call may be recorded.", "en", "0", "1", 8000, 8000)


def told(*, leaves: bool = False, key: bool = False) -> list[i.Input]:
    """What the machine hears when the leg cannot play, and the word of its end comes a moment later, or never."""

    async def main() -> list[i.Input]:
        heard: list[i.Input] = []
        caller = SimpleNamespace(gone=asyncio.Event(), speaker=SimpleNamespace(begin=lambda _file: None))
        driver = SimpleNamespace(state=SimpleNamespace(caller=Standing.ASKED), tell=heard.append)
        session: Any = SimpleNamespace(call="c", caller=caller, driver=driver)
        playing = asyncio.ensure_future(consent._play(cast(Session, session), NOTICE))
        await asyncio.sleep(0)
        assert heard == []
        if leaves:
            caller.gone.set()
        if key:
            driver.state.caller = Standing.REFUSED
        await playing
        return heard

    return asyncio.run(main())


def test_a_caller_who_left_before_the_notice_began_is_no_failed_notice() -> None:
    assert told(leaves=True) == []


def test_a_notice_that_a_standing_leg_cannot_play_failed() -> None:
    assert told() == [i.NoticeFailed("leg")]


def test_a_no_that_came_meanwhile_stays_a_no() -> None:
    assert told(key=True) == []

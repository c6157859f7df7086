# SPDX-License-Identifier: GPL-3.0-or-later
"""Which ways a key has on a leg: promise 5 rests on it."""

import pytest

from ivr.calls.party import key_paths
from ivr.consent.inputs import KeyPath
from ivr.sip.events import MediaChanged, Up


@pytest.mark.parametrize(
    ("event", "info", "inband", "paths"),
    [
        (True, False, False, {KeyPath.RFC4733}),
        (True, True, False, {KeyPath.RFC4733, KeyPath.INFO}),
        (False, True, False, {KeyPath.INFO}),
        (False, False, True, {KeyPath.INBAND}),
        (True, False, True, {KeyPath.RFC4733}),  # whoever sends events sends no tones
        (False, False, False, set()),
    ],
)
def test_the_key_paths_of_a_leg(event: bool, info: bool, inband: bool, paths: set[KeyPath]) -> None:
    for media in (Up("PCMA", 8_000, event, False), MediaChanged(False, event)):
        assert key_paths(media, info=info, inband=inband) == paths

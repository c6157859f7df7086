# SPDX-License-Identifier: GPL-3.0-or-later
"""What the pool decides, without a process: how many, who is old, who hangs, how soon again, and on which ports."""

from pathlib import Path

import pytest

from ivr.flow.place import FileError
from ivr.node.pool.crashes import PAUSES_S, STEADY_S, Crashes
from ivr.node.pool.recycling import Age, Recycling
from ivr.node.pool.sizing import Sizer, wanted
from ivr.node.pool.slots import SlotLock, slot, slots
from ivr.node.pool.vigil import LATE_S, Vigil
from ivr.node.settings import Settings

# -- how many ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("calls", "per_worker", "spare", "most", "want"),
    [
        (0, 2, 0, 8, 1),  # somebody has to answer
        (0, 2, 1, 8, 1),
        (0, 2, 3, 8, 3),
        (1, 2, 1, 8, 2),
        (2, 2, 1, 8, 2),
        (3, 2, 1, 8, 3),
        (3, 1, 1, 8, 4),
        (16, 2, 2, 8, 8),
        (0, 2, 9, 8, 8),
    ],
)
def test_there_are_as_many_as_calls_fill_and_the_spare_ones(
    calls: int, per_worker: int, spare: int, most: int, want: int
) -> None:
    assert wanted(calls, per_worker, spare, most) == want


def test_it_grows_at_once_and_shrinks_by_what_nobody_needed_for_the_whole_idle_time() -> None:
    sizer = Sizer(per_worker=2, min_spare=1, most=10, idle_s=60)
    assert sizer.step(0, 1, 6) == 3
    assert sizer.step(1, 4, 6) == 0
    assert sizer.step(2, 4, 0) == 0  # three too many, since now
    assert sizer.step(30, 4, 4) == 0  # meanwhile only one
    assert sizer.step(61, 4, 0) == 0
    assert sizer.step(62, 4, 0) == -1
    assert sizer.step(63, 3, 0) == 0  # and the time begins anew
    assert sizer.step(122, 3, 0) == 0
    assert sizer.step(123, 3, 0) == -2


def test_one_moment_of_need_starts_the_idle_time_anew() -> None:
    sizer = Sizer(per_worker=2, min_spare=0, most=10, idle_s=60)
    assert sizer.step(0, 2, 0) == 0
    assert sizer.step(59, 2, 4) == 0
    assert sizer.step(61, 2, 0) == 0
    assert sizer.step(120, 2, 0) == 0
    assert sizer.step(121, 2, 0) == -1


def turned_away(rate: int, seconds: int, min_spare: int, start_s: float) -> int:
    """Calls that find no place when so many come each second and stay, and a worker takes so long to start."""
    sizer = Sizer(per_worker=2, min_spare=min_spare, most=100, idle_s=60)
    ready, starting, calls, refused = max(1, min_spare), list[float](), 0, 0
    for step in range(seconds * rate):
        now = step / rate
        ready += sum(at <= now for at in starting)
        starting = [at for at in starting if at > now]
        if calls < 2 * ready:
            calls += 1
        else:
            refused += 1
        missing = sizer.step(now, ready + len(starting), calls)
        starting += [now + start_s] * max(0, min(missing, sizer.at_once - len(starting)))
    return refused


@pytest.mark.parametrize(("rate", "min_spare", "start_s"), [(10, 8, 1.0), (10, 8, 1.5), (20, 16, 1.5)])
def test_calls_that_come_and_come_find_workers_while_others_start(rate: int, min_spare: int, start_s: float) -> None:
    assert turned_away(rate, 6, min_spare, start_s) == 0


def test_a_steep_rise_is_thought_on_and_a_small_one_is_what_the_spare_ones_are_for() -> None:
    sizer = Sizer(per_worker=2, min_spare=1, most=20, idle_s=60)
    assert sizer.step(0, 2, 0) == 0
    assert sizer.step(1, 2, 2) == 0
    assert sizer.step(1.5, 2, 8) == 6  # four that they fill, and four for as many again
    assert sizer.step(9, 8, 8) == 0  # long ago
    assert sizer.at_once == 4


# -- who is old --------------------------------------------------------------------------------------------------------

MB = 1_000_000


@pytest.mark.parametrize(
    ("age", "why"),
    [
        (Age(served=99, calls=0, memory=90 * MB, base=60 * MB), None),
        (Age(served=100, calls=0, memory=60 * MB, base=60 * MB), "100 calls"),
        (Age(served=100, calls=1, memory=60 * MB, base=60 * MB), None),  # only when idle
        (Age(served=200, calls=1, memory=60 * MB, base=60 * MB), "200 calls"),  # which it never is, it seems
        (Age(served=5, calls=0, memory=125 * MB, base=60 * MB), "65 MB more than after its first call"),
        (Age(served=0, calls=0, memory=900 * MB, base=0), None),  # nothing to compare with yet
    ],
)
def test_a_worker_is_replaced_after_its_calls_or_when_it_has_grown(age: Age, why: str | None) -> None:
    assert Recycling(calls=100, growth=64 * MB).due(age) == why


# -- who hangs ---------------------------------------------------------------------------------------------------------


def test_silence_counts_from_the_last_sign_of_life() -> None:
    vigil = Vigil(0.0, 0.5)
    for step in range(1, 9):
        vigil.look(step * 0.5)
    assert vigil.silent_s(4.0, 1.5) == 2.5


def test_a_manager_that_was_stopped_itself_blames_nobody() -> None:
    """It was away from 1.0 to 9.0: nothing that it did not hear in that time is held against anybody."""
    vigil = Vigil(0.0, 0.5)
    vigil.look(0.5)
    vigil.look(1.0)
    vigil.look(9.0)
    assert vigil.silent_s(9.0, 1.0) == 0.0
    vigil.look(9.5)
    vigil.look(9.5 + 0.5 + LATE_S)  # a little late is not away
    assert vigil.silent_s(11.5, 1.0) == 2.5


# -- how soon again ----------------------------------------------------------------------------------------------------


def test_the_first_death_is_made_good_at_once_and_a_row_of_them_slower_and_slower() -> None:
    crashes = Crashes()
    now, pauses = 0.0, []
    for _ in range(5):
        pauses.append(crashes.died(0, now, lived=1.0, ready=True))
        assert crashes.may_start(0, now) is (pauses[-1] == 0)
        now += pauses[-1]
        assert crashes.may_start(0, now)
    assert pauses == [*PAUSES_S, PAUSES_S[-1]]
    assert crashes.may_start(1, now)
    assert crashes.died(0, now, lived=STEADY_S, ready=True) == 0.0


def test_workers_that_never_become_ready_hold_up_every_slot_until_one_does() -> None:
    crashes = Crashes()
    for number in range(3):
        crashes.died(number, 0.0, lived=0.1, ready=False)
    assert not crashes.may_start(7, PAUSES_S[2] - 0.1)
    assert crashes.may_start(7, PAUSES_S[2])
    crashes.started()
    assert crashes.may_start(7, 0.0)


# -- where -------------------------------------------------------------------------------------------------------------


def settings(tmp_path: Path, text: str) -> Settings:
    (tmp_path / "server.yaml").write_text(text)
    return Settings.load(tmp_path)


def test_one_worker_has_the_servers_own_address_and_all_rtp_ports(tmp_path: Path) -> None:
    only = slot(settings(tmp_path, "sip: {address: 192.0.2.1, port: 5070}\npool: 1\n"), 0)
    assert (only.name, only.sip_address, only.sip_port) == ("w0", "192.0.2.1", 5070)
    assert (only.rtp_port, only.rtp_range) == (16000, 200)


def test_workers_behind_an_edge_share_no_port(tmp_path: Path) -> None:
    found = slots(settings(tmp_path, "pool: 12\n"))
    assert [s.name for s in found] == [f"w{n}" for n in range(12)]
    assert {s.sip_address for s in found} == {"127.0.0.1"}
    sip = [s.sip_port for s in found]
    rtp = [port for s in found for port in range(s.rtp_port, s.rtp_port + s.rtp_range)]
    assert len({*sip, *rtp}) == len(sip) + len(rtp)
    assert sip == list(range(15000, 15012))
    assert max(rtp) < 16200
    with pytest.raises(ValueError, match="w0 to w11"):
        slot(settings(tmp_path, "pool: 12\n"), 12)


@pytest.mark.parametrize(
    ("text", "place", "says"),
    [
        ("pool: 0", "1:7", "`max` cannot be 0"),
        ("pool: true", "1:7", "how many workers"),
        ("pool: 13", "1:1", "200 RTP ports are too few for 13 workers with 16 each; expected at least 208"),
        ("pool: {max: 2, sip_port: 16198}", "1:26", "overlap the RTP ports 16000 to 16199"),
        ("pool: {max: 2, sip_port: 15999}", "1:26", "overlap the RTP ports"),
        ("sip: {port: 15001}\npool: 2", "1:13", "among the workers' SIP ports 15000 to 15001"),
        ("pool: {max: 100, sip_port: 65500}", "1:28", "end past 65535"),
        ("pool: {heartbeat: 1s}", "1:19", "between 1500ms and 1 min"),
        ("pool: {idle_time: 10ms}", "1:19", "at least 1s"),
        ("pool: {min_spar: 1}", "1:8", "did you mean 'min_spare'?"),
    ],
)
def test_a_pool_that_cannot_be_is_refused_with_its_line(text: str, place: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(FileError) as found:
        settings(tmp_path, text + "\n")
    assert f"server.yaml:{place}: " in str(found.value)
    assert says in str(found.value)


def test_with_one_worker_the_workers_ports_do_not_matter(tmp_path: Path) -> None:
    assert settings(tmp_path, "pool: {max: 1, sip_port: 16000}\n").pool.edge is False


def test_a_slot_is_taken_once_until_it_is_let_go(tmp_path: Path) -> None:
    one, two = SlotLock(tmp_path, "w0"), SlotLock(tmp_path, "w0")
    assert two.is_free()
    assert one.take()
    assert not two.is_free()
    assert not two.take()
    assert SlotLock(tmp_path, "w1").take()
    one.release()
    assert two.take()

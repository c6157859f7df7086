# SPDX-License-Identifier: GPL-3.0-or-later
"""One thread for the disk work of all recordings of a store: in order, and gone with the last of them."""

import threading

from ivr.vault.thread import SealingThread

WAIT = 20


def test_jobs_of_all_users_run_in_order_on_one_thread() -> None:
    thread, done, ran = SealingThread(), threading.Event(), []
    gate = threading.Event()
    thread.open()
    thread.put(lambda: gate.wait(WAIT))
    thread.put(lambda: ran.append((-1, threading.get_ident())))
    thread.open()
    for n in range(20):
        thread.put(lambda n=n: ran.append((n, threading.get_ident())))  # type: ignore[misc]
    thread.put(done.set)
    assert ran == []
    gate.set()
    assert done.wait(WAIT)
    thread.close()
    thread.close()
    assert [n for n, _ in ran] == list(range(-1, 20))
    assert len({ident for _, ident in ran}) == 1


def test_it_ends_with_its_last_user_and_not_before_its_work_is_done() -> None:
    thread, gate, seen = SealingThread(), threading.Event(), []
    thread.open()
    thread.open()
    thread.put(lambda: seen.append(threading.current_thread()))
    thread.put(lambda: gate.wait(WAIT))
    thread.close()
    thread.put(lambda: seen.append(threading.current_thread()))
    thread.close()
    gate.set()
    while len(seen) < 2:
        gate.wait(WAIT)
    seen[0].join(WAIT)
    assert not seen[0].is_alive()
    assert seen[0] is seen[1]


def test_it_can_be_opened_again_while_the_one_before_still_works() -> None:
    thread, gate, done = SealingThread(), threading.Event(), threading.Event()
    thread.open()
    thread.put(lambda: gate.wait(WAIT))
    thread.close()
    thread.open()
    thread.put(done.set)
    assert done.wait(WAIT), "the next recording does not wait for the end of the one before"
    gate.set()
    thread.close()

# SPDX-License-Identifier: GPL-2.0-or-later
"""Checkpoints under memory load: all guest memory of both hosts is identical after each."""

import pytest

import hugepages
from pair import Guest
from waiting import wait_for

LOAD = Guest(append="dirty=32,5 rate=1000")
VERIFIES = 5
HUGE_PAGE = 2 << 20
MEMORY = 128 << 20


def run_checkpoints(pair, count):
    """Let count checkpoints pass, comparing all memory several times on the way."""
    first = pair.a.status()["epoch"]
    for i in range(1, VERIFIES + 1):
        pair.a.wait_epoch(first + count * i // VERIFIES)
        pair.a.verify()
    pair.a.console.assert_sound()
    pair.a.console.audit()


def assert_guest_can_move(pair):
    """The memory being equal is not enough: the guest must also run on from it, unharmed."""
    pair.a.ctl("failover")
    pair.b.wait_status("the primary's role", lambda s: s["role"] == "primary")
    pair.b.console.wait_ticks(10)
    pair.b.console.audit()


@pytest.mark.core
def test_periodic_checkpoints_keep_both_memories_equal(make_pair, scale):
    pair = make_pair(guest=LOAD, period_ms=50).start()
    run_checkpoints(pair, scale(300, 60))
    status = pair.a.status()
    assert status["checkpoints"]["by_trigger"]["period"] >= scale(300, 60) // 2
    assert status["dirty_pages"]["p50"] > 0
    assert_guest_can_move(pair)


@pytest.mark.core
def test_a_running_secondary_is_brought_back_to_the_primary(make_pair, scale):
    pair = make_pair(guest=LOAD, period_ms=50, run_secondary="yes").start()
    run_checkpoints(pair, scale(300, 60))
    # It really runs by itself: its console shows ticks before any take-over.
    wait_for("ticks of the secondary's own", pair.b.console.ticks)
    assert_guest_can_move(pair)


def test_back_to_back_checkpoints_keep_both_memories_equal(make_pair, scale):
    pair = make_pair(guest=LOAD, period_ms=0).start()
    run_checkpoints(pair, scale(300, 60))


@pytest.mark.parametrize("run_secondary", ["no", "yes"])
def test_memory_on_huge_pages_is_kept_equal(make_pair, scale, run_secondary):
    with hugepages.reserved(2 * MEMORY // HUGE_PAGE):
        pair = make_pair(guest=LOAD, period_ms=100, memory_page_size="2M",
                         run_secondary=run_secondary).start()
        run_checkpoints(pair, scale(300, 40))
        assert_guest_can_move(pair)
        # The pages must be free again before the system's number is put back.
        pair.close()


def test_on_demand_checkpoints_happen_when_asked_for_only(make_pair, scale):
    pair = make_pair(guest=LOAD, mode="on-demand").start()
    before = pair.a.status()["checkpoints"]["count"]
    # Without orders no epoch passes, however long the guest runs.
    pair.a.console.wait_ticks(20)
    assert pair.a.status()["checkpoints"]["count"] == before
    epochs = [pair.a.ctl("checkpoint")["epoch"] for _ in range(scale(300, 30))]
    assert epochs == list(range(epochs[0], epochs[0] + len(epochs)))
    assert pair.a.verify()["epoch"] > epochs[-1]
    triggers = pair.a.status()["checkpoints"]["by_trigger"]
    assert triggers["command"] == len(epochs) and triggers["verify"] == 1
    assert not triggers.get("period")
    assert_guest_can_move(pair)


def test_modes_change_while_the_guest_runs(make_pair):
    pair = make_pair(guest=LOAD, mode="on-demand").start()
    pair.a.ctl("mode", "periodic")
    epoch = pair.a.status()["epoch"]
    pair.a.wait_epoch(epoch + 5)
    pair.a.ctl("mode", "on-demand")
    assert pair.a.wait_status("mode", lambda s: s["mode"] == "on-demand")
    pair.a.verify()


def test_bandwidth_bound_still_reaches_equal_memories(make_pair):
    pair = make_pair(guest=LOAD, bandwidth="50M").start()
    run_checkpoints(pair, 10)


def test_replication_works_over_ipv6(make_pair):
    pair = make_pair(ipv6=True).start()
    pair.a.verify()

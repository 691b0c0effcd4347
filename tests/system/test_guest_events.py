# SPDX-License-Identifier: GPL-2.0-or-later
"""What the guest does to itself: reset, shutdown, panic. None of it is a failover."""

import pytest

from pair import Guest
from processes import alive


def test_a_guest_reset_is_followed_by_the_secondary(make_pair):
    pair = make_pair().start()
    pair.a.console.send("reset")
    pair.a.console.wait_text("GUEST-UP", count=2)
    status = pair.a.wait_status(
        "a checkpoint for the reset",
        lambda s: s["checkpoints"]["by_trigger"].get("guest_reset", 0) >= 1)
    assert (status["role"], status["state"]) == ("primary", "colo")
    pair.a.wait_epoch(status["epoch"] + 2)
    pair.a.verify()
    assert pair.b.status()["role"] == "secondary"
    # What the secondary holds is the guest after its reset.
    pair.a.kill_qemu()
    pair.b.wait_state("solo")
    pair.b.console.wait_ticks(10, since=0)
    pair.b.console.audit()


def test_a_guest_that_keeps_resetting_stays_protected(make_pair):
    pair = make_pair(guest=Guest(append="dirty=16,2 autoreset=1")).start()
    pair.a.console.wait_text("GUEST-UP", count=3)
    pair.wait_protected()
    pair.a.verify()


def test_a_guest_shutdown_ends_both_hosts_in_order(make_pair):
    pair = make_pair().start()
    pids = [pair.a.qemu_pid(), pair.b.qemu_pid()]
    pair.a.console.send("poweroff")
    assert pair.a.wait_exit() == 0
    assert pair.b.wait_exit() == 0
    assert not any(map(alive, pids))
    assert not pair.b.console.ticks(), "the secondary ran a guest that had shut down"
    for node in (pair.a, pair.b):
        assert "to=completed" in node.log()
        assert "to=failover" not in node.log()


@pytest.mark.parametrize("extra", ["", "-no-reboot"])
def test_a_running_secondary_that_shut_itself_down_is_brought_back(make_pair, extra):
    guest = Guest(extra=extra)
    pair = make_pair(guest=guest, mode="on-demand", run_secondary="yes").start()
    pair.a.ctl("checkpoint")
    pair.b.console.wait_ticks(1)
    pair.b.console.send("poweroff")
    pair.b.wait_status("a stopped guest", lambda s: s["guest"] == "paused")
    pair.a.verify()
    pair.b.wait_status("a running guest", lambda s: s["guest"] == "running")
    pair.a.kill_qemu()
    pair.b.wait_state("solo")
    pair.b.console.wait_ticks(10)
    pair.b.console.audit()


def test_a_guest_panic_is_reported_and_no_failover(make_pair):
    pair = make_pair().start()
    assert not pair.a.status()["guest_panicked"]
    pair.a.console.send("panic")
    status = pair.a.wait_status("the panic", lambda s: s["guest_panicked"])
    assert status["role"] == "primary"
    # The other host would panic as well: nothing is won by moving.
    assert pair.b.status()["role"] == "secondary"
    pair.a.assert_runs()
    pair.b.assert_runs()

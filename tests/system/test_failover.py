# SPDX-License-Identifier: GPL-2.0-or-later
"""kill -9 at random moments: the survivor carries on from a committed checkpoint, undamaged."""

import time

import pytest

from pair import Guest
from processes import alive
from waiting import wait_for

# Back-to-back checkpoints: most kills land in the middle of one.
CONFIG = {"period_ms": 0, "peer_timeout_ms": 500}
LOAD = Guest(append="dirty=32,5 rate=1000")
# One tick may be cut in two by the checkpoint, half on each console.
CUT_TICKS = 2


def committed_tick(pair):
    """A tick that the secondary is known to hold: two epochs have passed since it was printed."""
    node = pair.a
    tick = node.console.last_tick()
    node.wait_epoch(node.status()["epoch"] + 2)
    return tick


def at_a_random_moment(rng):
    # The one deliberate wait: where in a checkpoint the blow falls is left to chance.
    time.sleep(rng.uniform(0, 0.2))


def kill_qemu(pair, node):
    node.kill_qemu()


def kill_colod(pair, node):
    """QEMU must survive its colod."""
    pid = node.qemu_pid()
    node.kill_colod()
    assert alive(pid)


def cut_cable(pair, node):
    pair.decide(pair.other(node))
    pair.network.cut()


def remove_cable(pair, node):
    pair.decide(pair.other(node))
    pair.network.unplug()


def assert_secondary_took_over(pair, floor, ceiling, since):
    status = pair.b.wait_state("solo")
    assert status["role"] == "primary"
    ticks = pair.b.console.wait_ticks(10, since)
    assert floor < ticks[0] <= ceiling + CUT_TICKS, (floor, ticks[0], ceiling)
    pair.b.console.audit()


def lose_primary(pair, rng, blow):
    """Strike the primary; check that the guest goes on at the secondary."""
    floor = committed_tick(pair)
    at_a_random_moment(rng)
    since = pair.b.console.size()
    blow(pair, pair.a)
    assert_secondary_took_over(pair, floor, pair.a.console.last_tick(), since)


def trials(make_pair, count, act):
    for _ in range(count):
        pair = make_pair(guest=LOAD, **CONFIG).start()
        act(pair)
        pair.close()


@pytest.mark.core
def test_the_guest_survives_the_death_of_the_primarys_qemu(make_pair, rng, scale):
    trials(make_pair, scale(20, 1), lambda pair: lose_primary(pair, rng, kill_qemu))


def loads(node):
    return node.status()["load_us"]["count"]


def test_devices_that_were_not_loaded_yet_are_loaded_in_a_failover(make_pair, rng):
    """Back to back a checkpoint often comes before the one before it is loaded."""
    pair = make_pair(guest=LOAD, **CONFIG).start()
    pair.b.wait_status("checkpoints that were never loaded",
                       lambda s: s["epoch"] - s["load_us"]["count"] >= 50)
    lose_primary(pair, rng, kill_qemu)


def test_the_last_checkpoint_is_loaded_when_none_follows(make_pair):
    pair = make_pair(guest=LOAD, mode="on-demand").start()
    for _ in range(3):
        loaded = loads(pair.b)
        pair.a.ctl("checkpoint")
        wait_for("the devices being loaded", lambda n=loaded: loads(pair.b) == n + 1)


@pytest.mark.parametrize("blow", [kill_colod, cut_cable, remove_cable])
def test_the_guest_survives_the_loss_of_the_primary(make_pair, rng, scale, blow):
    trials(make_pair, scale(20, 1), lambda pair: lose_primary(pair, rng, blow))


def test_a_running_secondary_takes_over_from_the_last_checkpoint(make_pair, rng, scale):
    def lose(pair):
        floor = committed_tick(pair)
        at_a_random_moment(rng)
        pair.a.kill_qemu()
        pair.b.wait_state("solo")
        assert pair.b.console.wait_ticks(10)[0] > floor
        pair.b.console.audit()

    for _ in range(scale(20, 1)):
        pair = make_pair(guest=LOAD, run_secondary="yes", **CONFIG).start()
        lose(pair)
        pair.close()


@pytest.mark.parametrize("blow", [kill_qemu, kill_colod, cut_cable])
def test_the_guest_does_not_notice_the_loss_of_the_secondary(make_pair, rng, scale, blow):
    def lose_secondary(pair):
        committed_tick(pair)
        at_a_random_moment(rng)
        blow(pair, pair.b)
        pair.a.wait_state("solo")
        pair.a.console.wait_ticks(10, since=0)
        seen = len(pair.a.console.ticks())
        assert pair.a.console.wait_ticks(seen + 10, since=0)[0] == 1
        pair.a.console.audit()

    trials(make_pair, scale(20, 1), lose_secondary)


def test_a_silent_primary_is_replaced_only_after_the_peer_timeout(make_pair):
    """A short hiccup of the cable is no reason to take over."""
    pair = make_pair(guest=LOAD, period_ms=100, peer_timeout_ms=20000).start()
    pair.network.cut()
    pair.a.console.wait_ticks(10)
    assert pair.b.status()["role"] == "secondary"
    pair.network.mend()
    pair.wait_protected()
    pair.a.verify()
    assert pair.b.status()["role"] == "secondary"


def test_a_secondary_that_never_was_synchronised_does_not_take_over(make_pair):
    # So slow that the first copy is not done when the blow falls.
    pair = make_pair(guest=LOAD, bandwidth="1M", **CONFIG)
    pair.a.start("primary")
    pair.wait_booted(pair.a)
    pair.b.start("secondary")
    pair.b.wait_state("active")
    pair.a.kill_qemu()
    status = pair.b.wait_state("setup")
    assert status["role"] == "secondary" and not status["synced"]
    assert not pair.b.console.ticks()


def test_a_lost_secondary_is_taken_back(make_pair):
    pair = make_pair(guest=LOAD).start()
    pair.b.kill_qemu()
    pair.a.wait_state("solo")
    assert pair.b.wait_exit() != 0
    pair.b.start("secondary")
    pair.wait_protected()
    pair.a.verify()
    floor = committed_tick(pair)
    pair.a.kill_qemu()
    assert_secondary_took_over(pair, floor, pair.a.console.last_tick(), 0)


def test_the_lost_primary_comes_back_as_secondary(make_pair):
    pair = make_pair(guest=LOAD).start()
    pair.a.kill_qemu()
    pair.b.wait_state("solo")
    assert pair.a.wait_exit() != 0
    pair.a.start("secondary")
    pair.wait_protected()
    assert pair.b.status()["role"] == "primary"
    pair.b.verify()
    tick = pair.b.console.last_tick()
    pair.b.wait_epoch(pair.b.status()["epoch"] + 2)
    pair.b.kill_qemu()
    pair.a.wait_state("solo")
    assert pair.a.console.wait_ticks(10, since=0)[0] > tick
    pair.a.console.audit()


# The header of RECEIVED on the control channel, wherever in a packet.
LOSE_RECEIVED = ["iptables", "-A", "OUTPUT", "-p", "tcp", "-m", "string", "--algo", "bm",
                 "--hex-string", "|434f4c4f00020008|", "-j", "DROP"]
LOSE_CALLS = ["iptables", "-A", "INPUT", "-p", "tcp", "--syn", "-j", "DROP"]


def test_output_is_held_when_the_first_commit_may_have_gone_unheard(make_pair):
    """The secondary holds a whole checkpoint, and the primary does not know: two could be live."""
    pair = make_pair(arbiter="none", arbiter_command=[], bandwidth="40M", **CONFIG)
    done = pair.b.host.run(LOSE_RECEIVED)
    assert done.returncode == 0, done.stderr
    pair.a.start("primary")
    pair.b.start("secondary")
    pair.b.wait_state("active")
    # And it does not get to know by calling again.
    done = pair.b.host.run(LOSE_CALLS)
    assert done.returncode == 0, done.stderr
    status = pair.a.wait_status("the question who goes on",
                                lambda s: s["state"] == "paused" and s["paused"]["arbiter"])
    assert status["paused"]["output_held"]
    assert "to=colo" not in pair.a.log()

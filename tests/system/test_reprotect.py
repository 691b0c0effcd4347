# SPDX-License-Identifier: GPL-2.0-or-later
"""A lost host comes back empty: the survivor protects its guest again by itself, round after round."""

import time

from pair import COLO_CTL, Guest

CONFIG = {"period_ms": 20, "peer_timeout_ms": 500}
LOAD = Guest(append="dirty=32,5 rate=1000")
MEMORY_PAGES = (128 << 20) // 4096


def kill_qemu(pair, node):
    """colod sees it, tells the peer, and ends."""
    node.kill_qemu()
    assert node.wait_exit() != 0


def kill_colod_and_qemu(pair, node):
    """Connections end, and nobody says why."""
    node.kill_all()


def kill_host(pair, node):
    """Nothing ends: there is only silence."""
    pair.network.cut()
    node.kill_all()


BLOWS = [kill_qemu, kill_colod_and_qemu, kill_host]


def protected_at(node):
    """A tick that the other host is known to hold."""
    tick = node.console.last_tick()
    node.wait_epoch(node.status()["epoch"] + 2)
    return tick


def survive(pair, live, lost, blow):
    """Strike one of the two; the node that has the guest then."""
    survivor = pair.other(lost)
    floor = protected_at(live)
    since = survivor.console.size()
    blow(pair, lost)
    survivor.wait_state("solo")
    assert survivor.status()["role"] == "primary"
    ticks = survivor.console.wait_ticks(5, since)
    assert ticks[0] > floor, (ticks[0], floor)
    return survivor


def come_back(pair, survivor, lost):
    """A fresh QEMU on the lost host: nobody tells the survivor what to do."""
    pair.network.mend()
    lost.start("secondary")
    pair.wait_protected()
    assert survivor.status()["role"] == "primary"
    assert survivor.verify()["pages"] == MEMORY_PAGES
    survivor.console.audit()


def test_a_guest_outlives_hosts_that_die_and_come_back_in_turn(make_pair, rng, scale):
    pair = make_pair(guest=LOAD, **CONFIG).start()
    live = pair.a
    for i in range(scale(50, 4)):
        # In six rounds each of the two dies in each of the three ways.
        lost = live if i % 2 == 0 else pair.other(live)
        # The one deliberate wait: where in a checkpoint the blow falls is left to chance.
        time.sleep(rng.uniform(0, 0.1))
        live = survive(pair, live, lost, BLOWS[i % len(BLOWS)])
        come_back(pair, live, lost)
    assert live.console.text().count("GUEST-UP") <= 1


def copy_seconds(node):
    """How long a first copy takes, its checkpoint included."""
    node.wait_status("the first copy", lambda s: s["state"] in ("active", "colo"))
    began = time.monotonic()
    node.wait_state("colo")
    return time.monotonic() - began


def test_bandwidth_bounds_the_copy_to_a_secondary_that_came_back(make_pair):
    """With an eighth of the bandwidth it takes longer, however slow the machine is."""
    pair = make_pair(guest=Guest(append="dirty=8,1"), period_ms=1000)
    pair.start()
    took = []
    for bandwidth in ("64M", "8M"):
        pair.b.kill_qemu()
        pair.a.wait_state("solo")
        pair.b.wait_exit()
        pair.a.ctl("set", "bandwidth", bandwidth)
        pair.b.start("secondary")
        took.append(copy_seconds(pair.a))
    assert took[1] > 1.5 * took[0], took
    pair.a.verify()


def watch(node):
    """One line of the live view."""
    done = node.host.run([COLO_CTL, "--socket", node.socket_path, "watch", "--count", "1"])
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_status_and_watch_show_how_far_a_first_copy_is(make_pair):
    pair = make_pair(guest=Guest(append="dirty=8,1"), bandwidth="8M", period_ms=20, peer_timeout_ms=20000)
    pair.a.start("primary")
    pair.wait_booted(pair.a)
    assert "sync" not in pair.a.status()
    pair.b.start("secondary")
    seen = [pair.a.wait_status("a time to go", lambda s: s.get("sync", {}).get("seconds_left"))]
    line = watch(pair.a)
    while seen[-1]["state"] == "active":
        status = pair.a.status()
        if "sync" in status:
            seen.append(status)
        elif status["state"] == "colo":
            break
    syncs = [s["sync"] for s in seen]
    for sync in syncs:
        assert sync["pages_total"] == MEMORY_PAGES
        assert 0 <= sync["pages_sent"] <= MEMORY_PAGES
        assert sync["percent"] == sync["pages_sent"] * 100 // MEMORY_PAGES
    assert syncs[-1]["pages_sent"] > syncs[0]["pages_sent"]
    assert all(s["state"] == "active" for s in seen)
    assert "sync_percent=" in line and "sync_seconds_left=" in line and "state=active" in line, line
    pair.wait_protected()
    assert "sync" not in pair.a.status()

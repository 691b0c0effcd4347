# SPDX-License-Identifier: GPL-2.0-or-later
"""A link that breaks is not a dead peer: replication pauses and goes on in the same epoch."""

import pytest

from pair import CtlError, Guest
from waiting import wait_for

LOAD = Guest(append="dirty=32,5 rate=1000")
# Long enough that nothing is decided while a test looks.
PATIENT = {"peer_timeout_ms": 500, "recover_timeout_ms": 600000}


def wait_paused(pair):
    for node in (pair.a, pair.b):
        node.wait_state("paused")


def assert_same_session(pair, resumes):
    """Protected again, without a first copy and without a failover."""
    pair.wait_protected()
    for node, role in ((pair.a, "primary"), (pair.b, "secondary")):
        status = node.status()
        assert status["role"] == role
        assert status["resumes"]["count"] >= resumes, status["resumes"]
    assert pair.a.status()["checkpoints"]["by_trigger"]["first"] == 1
    pair.a.verify()
    pair.a.console.audit()


def test_a_cut_cable_pauses_and_replication_goes_on(make_pair, scale):
    pair = make_pair(guest=LOAD, **PATIENT).start()
    for i in range(scale(10, 2)):
        tick = pair.a.console.last_tick()
        pair.network.cut()
        wait_paused(pair)
        # The guest runs on meanwhile.
        wait_for("further ticks", lambda t=tick: pair.a.console.last_tick() > t + 3)
        pair.network.mend()
        assert_same_session(pair, i + 1)
        pair.a.wait_epoch(pair.a.status()["epoch"] + 2)


def test_a_first_copy_goes_on_where_it_was(make_pair):
    pair = make_pair(guest=LOAD, memory="512M", bandwidth="20M", **PATIENT)
    pair.a.start("primary")
    pair.wait_booted(pair.a)
    pair.b.start("secondary")
    pair.a.wait_status("half of the copy",
                       lambda s: s["state"] == "active" and s["bytes_sent"] > 2 << 20)
    pair.network.cut()
    pair.a.wait_state("paused")
    pair.b.wait_state("active-paused")
    sent = pair.a.status()["bytes_sent"]
    pair.network.mend()
    pair.a.wait_state("active")
    pair.a.ctl("set", "bandwidth", "0")
    pair.wait_protected()
    status = pair.a.status()
    assert status["resumes"]["count"] == 1 and status["resumes"]["saved_pages"] > 0, status
    assert status["bytes_sent"] >= sent
    pair.a.verify()
    pair.a.console.audit()


def test_an_operator_pauses_and_recovers(make_pair):
    pair = make_pair(guest=LOAD, recover_timeout_ms=100).start()
    for node in (pair.a, pair.b):
        node.ctl("pause")
        wait_paused(pair)
        epoch = pair.a.status()["epoch"]
        with pytest.raises(CtlError):
            pair.b.ctl("recover")
        pair.a.console.wait_ticks(5)
        # Nobody asks the arbiter, however short recover_timeout_ms is.
        assert [n.status()["state"] for n in (pair.a, pair.b)] == ["paused", "paused"]
        pair.a.ctl("recover", "--address", pair.b.config["listen"])
        assert_same_session(pair, 1)
        assert pair.a.status()["epoch"] >= epoch


@pytest.mark.parametrize("winner", ["a", "b"])
def test_one_side_goes_on_when_the_link_stays_cut(make_pair, winner):
    pair = make_pair(guest=LOAD, peer_timeout_ms=500).start()
    wins = getattr(pair, winner)
    loses = pair.other(wins)
    pair.decide(wins)
    pair.network.cut()
    assert wins.wait_state("solo")["role"] == "primary"
    wins.console.wait_ticks(5)
    assert loses.status()["state"] == "paused"
    pair.network.mend()
    # The one that lost becomes the other's secondary, whatever it was before.
    wins.wait_state("colo")
    assert loses.wait_state("colo")["role"] == "secondary"
    wins.verify()
    wins.console.audit()


def test_without_an_arbiter_both_sides_wait_for_the_operator(make_pair):
    pair = make_pair(guest=LOAD, arbiter="none", arbiter_command=[], peer_timeout_ms=500).start()
    pair.network.cut()
    for node in (pair.a, pair.b):
        status = node.wait_status("the reason", lambda s: s.get("paused", {}).get("arbiter"))
        assert "force" in status["paused"]["arbiter"] and status["state"] == "paused"
    pair.b.ctl("failover", "--force")
    assert pair.b.wait_state("solo")["role"] == "primary"
    pair.b.console.wait_ticks(5, since=0)
    pair.network.mend()
    assert pair.a.wait_state("colo")["role"] == "secondary"
    pair.b.wait_state("colo")
    pair.b.verify()

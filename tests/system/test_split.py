# SPDX-License-Identifier: GPL-2.0-or-later
"""Partitions between two hosts and the etcd that decides: never two guests that are heard."""

import contextlib

import pytest

from countload import CountLoad
from netloads import QUIET
from network import GuestNet
from outputlog import PORT_COUNTS, OutputLog, assert_never_contradicted
from pair import Guest
from waiting import wait_for
from witness import Witness

LOAD = Guest(append="dirty=32,5 rate=1000")
ASKERS = [(proto, GuestNet.v4(2), PORT_COUNTS) for proto in ("tcp", "udp")]
CONFIG = {"peer_timeout_ms": 500, "recover_timeout_ms": 300}


@contextlib.contextmanager
def witnessed(pair):
    witness = Witness(pair)
    try:
        pair.start()
        wait_for("a checkpoint that both may go on from",
                 lambda: (witness.owner()[0] or "").startswith("shared"))
        yield witness
    finally:
        witness.close()


def one_is_live(pair):
    """The node whose guest may be heard alone, if there is one; two are an error at once."""
    live = [n for n in (pair.a, pair.b) if (n.status_or_none() or {}).get("arbiter", {}).get("alone")]
    assert len(live) < 2
    return live[0] if live else None


def wait_live(pair, node=None):
    return wait_for("a live side", lambda: (n := one_is_live(pair)) and (not node or n is node) and n)


@pytest.mark.parametrize("cut_off", ["a", "b", None])
def test_the_side_that_reaches_etcd_goes_on(make_pair, cut_off):
    pair = make_pair(guest=LOAD, **CONFIG)
    with witnessed(pair) as witness:
        loser = getattr(pair, cut_off) if cut_off else None
        if loser:
            witness.cut(loser)
        pair.network.cut()
        winner = wait_live(pair, pair.other(loser) if loser else None)
        assert witness.owner() == (f"host {winner.folder.name}", winner.folder.name)
        other = pair.other(winner)
        winner.console.wait_ticks(5)
        assert other.status()["state"] in ("paused", "setup")
        pair.network.mend()
        if loser:
            witness.mend(loser)
        winner.wait_state("colo")
        assert other.wait_state("colo")["role"] == "secondary"
        wait_for("the guest to be shared again", lambda: witness.owner()[0].startswith("shared"))
        winner.verify()
        winner.console.audit()


def test_without_etcd_nobody_goes_on_and_the_operator_can_decide(make_pair):
    pair = make_pair(guest=LOAD, **CONFIG)
    with witnessed(pair) as witness:
        witness.etcd.pause()
        pair.network.cut()
        for node in (pair.a, pair.b):
            node.wait_status("the reason", lambda s: s.get("paused", {}).get("arbiter"))
        assert one_is_live(pair) is None
        witness.etcd.resume()
        winner = wait_live(pair)
        pair.network.mend()
        winner.wait_state("colo")
        winner.verify()


def test_etcd_may_be_away_while_both_hosts_are_there(make_pair):
    pair = make_pair(guest=LOAD, **CONFIG)
    with witnessed(pair) as witness:
        witness.etcd.pause()
        epoch = pair.a.status()["epoch"]
        pair.a.wait_epoch(epoch + 20)
        pair.a.ctl("failover")
        pair.b.wait_status("the primary's role",
                           lambda s: s["role"] == "primary" and s["state"] == "colo")
        pair.wait_protected()
        pair.b.verify()
        witness.etcd.resume()


def test_a_dead_qemu_is_replaced_at_once(make_pair):
    """The lease is nobody's while both hold a checkpoint: its time does not have to run out."""
    pair = make_pair(guest=LOAD, peer_timeout_ms=20000, recover_timeout_ms=600000)
    with witnessed(pair) as witness:
        pair.a.kill_qemu()
        assert pair.b.wait_state("solo")["role"] == "primary"
        assert witness.owner() == ("host b", "b")
        pair.b.console.wait_ticks(5, since=0)
        pair.a.wait_exit()
        # It would start an older guest: it may not, and becomes what is needed.
        pair.a.start("primary")
        assert pair.a.wait_state("colo")["role"] == "secondary"
        pair.b.wait_state("colo")
        pair.b.verify()


def test_who_loses_etcd_while_alone_is_mute_until_it_is_back(make_pair):
    pair = make_pair(nics=1, guest=QUIET, mode="colo", **CONFIG)
    with witnessed(pair) as witness, OutputLog(pair.network) as log, \
            CountLoad(pair.client, ASKERS) as load:
        pair.b.kill_qemu()
        pair.a.wait_state("solo")
        load.wait_progress(10)
        witness.cut(pair.a)
        pair.a.wait_status("held output", lambda s: s.get("paused", {}).get("output_held"))
        assert witness.owner()[1] == "a", "it was silent only after the lease had run out"
        since, asked = log.position(), load.asked()
        wait_for("further questions", lambda: load.asked() >= asked + 5)
        assert not log.output(since)
        witness.mend(pair.a)
        load.wait_progress(10)
        assert pair.a.wait_state("solo")["role"] == "primary"
        assert_never_contradicted(log)


def test_partitions_at_random(make_pair, rng, scale):
    """Any of the three cables, in any order, and hosts that come back."""
    pair = make_pair(guest=LOAD, **CONFIG)
    with witnessed(pair) as witness:
        for _ in range(scale(60, 6)):
            cuts = rng.sample(["peer", "a", "b"], rng.randrange(1, 4))
            for cut in cuts:
                if cut == "peer":
                    pair.network.cut()
                else:
                    witness.cut(getattr(pair, cut))
            if rng.random() < 0.7:
                wait_for("a decision or a stand-off", lambda: one_is_live(pair) or all(
                    (n.status_or_none() or {}).get("paused", {}).get("arbiter")
                    for n in (pair.a, pair.b)) or "peer" not in cuts)
            for cut in cuts:
                if cut == "peer":
                    pair.network.mend()
                else:
                    witness.mend(getattr(pair, cut))
            pair.wait_protected()
            one_is_live(pair)
        primary = next(n for n in (pair.a, pair.b) if n.status()["role"] == "primary")
        primary.verify()
        primary.console.audit()

# SPDX-License-Identifier: GPL-2.0-or-later
"""Clients notice neither the guest's moves nor the loss of its secondary, in tagged and cut packets too."""

import pytest

from netblows import CONFIG, REPEATED, kill_colod, kill_host, lose
from netclient import Loads
from netloads import FRAGMENTS, LIGHT, MODES_ON_QEMUS, QUIET, STREAMS, TAGGED

# Datagrams for a guest whose port is shut while the arbiter, a script on a busy machine, takes long.
WHILE_SHUT = 4


@pytest.mark.parametrize("blow,mode", [(kill_host, "colo"), (kill_colod, "periodic"),
                                       (kill_host, "auto")])
def test_nothing_is_lost_with_the_secondary(make_pair, rng, scale, blow, mode):
    for _ in range(scale(10, 1)):
        pair = make_pair(nics=1, guest=QUIET, mode=mode, **CONFIG).start()
        lose(pair, pair.b, rng, blow, LIGHT, may_lose=WHILE_SHUT)
        pair.close()


def switch(pair, source):
    target = pair.other(source)
    source.ctl("failover")
    target.wait_status("the primary's role",
                       lambda s: s["role"] == "primary" and s["state"] == "colo")
    source.wait_status("the secondary's role",
                       lambda s: s["role"] == "secondary" and s["state"] == "colo")
    return target


@pytest.mark.parametrize("mode,qemu", MODES_ON_QEMUS, indirect=["qemu"])
def test_nothing_is_lost_when_the_guest_moves_back_and_forth(make_pair, scale, mode):
    pair = make_pair(nics=1, guest=QUIET, mode=mode).start()
    node, moves = pair.a, scale(10, 2)
    with Loads(pair.client, pair.folder, LIGHT) as loads:
        for _ in range(moves):
            loads.wait_progress(5)
            node = switch(pair, node)
        loads.wait_progress(5)
        # A QEMU that gets no CPU for 10 ms may keep one frame at its stop; the next datagram may
        # overtake one that the old host passes on.
        loads.assert_intact(may_repeat=moves, may_reorder=REPEATED)
    node.verify()
    node.console.audit()


@pytest.mark.parametrize("loads", [FRAGMENTS, TAGGED], ids=["fragments", "vlan"])
def test_checkpoints_and_a_failover_keep_odd_packets_whole(make_pair, rng, scale, loads):
    for _ in range(scale(30, 1)):
        pair = make_pair(nics=1, guest=QUIET, mode="colo", **CONFIG).start()
        with Loads(pair.client, pair.folder, loads + STREAMS) as running:
            for _ in range(scale(20, 3)):
                running.wait_progress(10)
                pair.a.ctl("checkpoint")
            running.assert_intact(may_repeat=REPEATED)
        lose(pair, pair.a, rng, kill_host, loads)
        pair.close()

# SPDX-License-Identifier: GPL-2.0-or-later
"""Clients keep their connections, and every byte, when a host dies or the guest moves."""

import pytest

from netblows import (CONFIG, at_a_random_moment, kill_colod, kill_host, kill_qemu, lose,
                      silence_host, take_over, wait_gone)
from netclient import Loads, Server, guest_results
from netloads import BULK, LIGHT, MODES, MODES_ON_QEMUS, QUIET, STREAMS, TALKER
from waiting import wait_for


@pytest.mark.parametrize("mode,qemu", MODES_ON_QEMUS, indirect=["qemu"])
def test_connections_survive_the_death_of_the_primary(make_pair, rng, scale, mode):
    for _ in range(scale(30, 1)):
        pair = make_pair(nics=1, guest=QUIET, mode=mode, **CONFIG).start()
        lose(pair, pair.a, rng, kill_host, LIGHT)
        pair.close()


@pytest.mark.parametrize("blow", [kill_qemu, kill_colod, silence_host])
def test_connections_survive_the_loss_of_the_primary(make_pair, rng, scale, blow):
    for _ in range(scale(30, 1)):
        pair = make_pair(nics=1, guest=QUIET, mode="colo", **CONFIG).start()
        lose(pair, pair.a, rng, blow, LIGHT)
        pair.close()


@pytest.mark.parametrize("load", BULK, ids=[load[0] for load in BULK])
def test_bulk_data_survives_the_death_of_the_primary(make_pair, rng, scale, load):
    for _ in range(scale(30, 1)):
        pair = make_pair(nics=1, guest=QUIET, mode="auto", **CONFIG).start()
        with Loads(pair.client, pair.folder, [load]) as loads:
            wait_for("data", lambda: loads.all[0].latest() is not None)
            at_a_random_moment(rng)
            kill_host(pair, pair.a)
            take_over(pair, pair.a)
            loads.wait_progress(2)
            loads.assert_intact()
        pair.close()


@pytest.mark.parametrize("mode", MODES)
def test_connections_that_the_guest_made_survive(make_pair, rng, scale, mode):
    for _ in range(scale(30, 1)):
        pair = make_pair(nics=1, guest=TALKER, mode=mode, **CONFIG)
        server = Server(pair.client, pair.folder)
        pair.start()
        at_a_random_moment(rng)
        kill_host(pair, pair.a)
        console = take_over(pair, pair.a).console
        wait_for("results of the guest", lambda c=console: len(guest_results(c)) == 4)
        before = guest_results(console)

        def all_went_on(console=console, before=before):
            now = guest_results(console)
            return all(now[key].n >= before[key].n + 10 for key in before) and now

        for result in wait_for("the guest's connections", all_went_on).values():
            result.assert_intact()
        server.close()
        pair.close()


def restart_as_secondary(pair, node):
    wait_gone(node, node.qemu_pid())
    pair.network.unsilence(node.host)
    node.start("secondary")
    pair.wait_protected()


def test_one_connection_survives_one_host_after_the_other(make_pair, rng, scale):
    """What is rewritten for a connection goes on with the guest, to each further host."""
    pair = make_pair(nics=1, guest=QUIET, mode="colo", **CONFIG).start()
    node = pair.a
    with Loads(pair.client, pair.folder, STREAMS) as loads:
        for _ in range(scale(10, 2)):
            loads.wait_progress(10)
            at_a_random_moment(rng)
            kill_host(pair, node)
            lost, node = node, take_over(pair, node)
            loads.wait_progress(10)
            restart_as_secondary(pair, lost)
        loads.wait_progress(10)
        loads.assert_intact()
    node.verify()
    node.console.audit()

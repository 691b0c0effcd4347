# SPDX-License-Identifier: GPL-2.0-or-later
"""Clients of a guest whose hosts lose sight of each other: they wait, and miss nothing."""

import pytest

from netblows import CONFIG, at_a_random_moment
from netclient import Loads
from netloads import ANY, LIGHT, MODES, QUIET
from waiting import wait_for

PATIENT = {**CONFIG, "recover_timeout_ms": 600000}


def wait_paused(pair):
    for node in (pair.a, pair.b):
        node.wait_state("paused")


@pytest.mark.parametrize("mode", MODES)
def test_a_cut_cable_holds_what_clients_are_sent_and_no_more(make_pair, rng, scale, mode):
    pair = make_pair(nics=1, guest=QUIET, mode=mode, **PATIENT).start()
    with Loads(pair.client, pair.folder, LIGHT) as loads:
        for i in range(scale(20, 2)):
            loads.wait_progress(5)
            at_a_random_moment(rng)
            pair.network.cut()
            wait_paused(pair)
            wait_for("output that waits",
                     lambda: pair.a.status()["proxy"]["held"] > 0)
            pair.network.mend()
            pair.wait_protected()
            loads.wait_progress(5)
            assert pair.a.status()["resumes"]["count"] > i
        loads.assert_intact(ANY)  # a client does not wait for ever
    assert pair.a.status()["role"] == "primary"
    pair.a.verify()
    pair.a.console.audit()


@pytest.mark.parametrize("mode", MODES)
def test_connections_survive_a_failover_out_of_a_pause(make_pair, rng, scale, mode):
    for _ in range(scale(20, 1)):
        pair = make_pair(nics=1, guest=QUIET, mode=mode, **PATIENT).start()
        with Loads(pair.client, pair.folder, LIGHT) as loads:
            loads.wait_progress(5)
            pair.network.cut()
            wait_paused(pair)
            at_a_random_moment(rng)
            pair.a.ctl("stop")
            pair.b.ctl("failover", "--force")
            pair.b.wait_state("solo")
            loads.wait_progress(5)
            loads.assert_intact(ANY, ANY)
        pair.b.console.audit()
        pair.close()

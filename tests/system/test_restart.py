# SPDX-License-Identifier: GPL-2.0-or-later
"""colod dies or is replaced while its QEMU runs: started again, it goes on with the same guest."""

import os
import signal
import time

import pytest

from netblows import REPEATED
from netclient import Loads
from netloads import ANY, LIGHT, QUIET
from pair import CtlError, Guest
from processes import alive, kill
from waiting import wait_for

# The other host waits for longer than a restart takes.
PATIENT = {"recover_timeout_ms": 60000}
CONFIG = {"period_ms": 0, **PATIENT}
LOAD = Guest(append="dirty=32,5 rate=1000")


def role_of(pair, node):
    return "primary" if node is pair.a else "secondary"


def kill_and_start(pair, node):
    """kill -9, and another colod that finds the guest; QEMU is the same, before and after."""
    pid = node.qemu_pid()
    node.kill_colod()
    assert alive(pid)
    node.start_again(role_of(pair, node))
    node.wait_status("the guest's state", lambda s: "qemu" in s)
    assert node.qemu_pid() == pid


def assert_goes_on(pair, live=None):
    """Protected again, the guest has not been reset, and its memory is what it wrote."""
    live = live or pair.a
    pair.wait_protected()
    seen = live.console.last_tick()
    wait_for("the guest to tick on", lambda: live.console.last_tick() >= seen + 3)
    live.console.assert_sound()
    ticks = live.console.ticks()
    assert all(y == x + 1 for x, y in zip(ticks, ticks[1:])), ticks
    pair.a.verify() if live is pair.a else pair.b.verify()


@pytest.mark.core
def test_a_primary_that_died_goes_on_with_its_guest(make_pair, rng):
    pair = make_pair(guest=LOAD, **CONFIG).start()
    for _ in range(3):
        time.sleep(rng.uniform(0, 0.2))
        kill_and_start(pair, pair.a)
        assert_goes_on(pair)


def test_a_secondary_that_died_goes_on_with_its_qemu(make_pair, rng):
    pair = make_pair(guest=LOAD, **CONFIG).start()
    for _ in range(3):
        time.sleep(rng.uniform(0, 0.2))
        kill_and_start(pair, pair.b)
        assert_goes_on(pair)


def test_both_die_at_once(make_pair):
    pair = make_pair(guest=LOAD, **CONFIG).start()
    pids = [pair.a.qemu_pid(), pair.b.qemu_pid()]
    pair.a.kill_colod()
    pair.b.kill_colod()
    assert all(alive(pid) for pid in pids)
    pair.b.start_again("secondary")
    pair.a.start_again("primary")
    assert_goes_on(pair)
    assert [pair.a.qemu_pid(), pair.b.qemu_pid()] == pids


# ---- the guest's network

MODES = ["colo", "periodic"]


def wait_answers(loads, n=10):
    loads.wait_progress(n)


@pytest.mark.parametrize("mode", MODES)
def test_clients_keep_their_connections_when_the_primarys_colod_dies(make_pair, rng, mode):
    pair = make_pair(guest=QUIET, nics=1, mode=mode, **PATIENT).start()
    with Loads(pair.client, pair.folder, LIGHT) as loads:
        for _ in range(2):
            loads.wait_progress(10)
            time.sleep(rng.uniform(0, 0.2))
            kill_and_start(pair, pair.a)
            loads.wait_progress(10)
            pair.wait_protected()
        loads.assert_intact(ANY, REPEATED)
    assert_goes_on(pair)


@pytest.mark.parametrize("mode", MODES)
def test_clients_keep_their_connections_when_the_secondarys_colod_dies(make_pair, rng, mode):
    pair = make_pair(guest=QUIET, nics=1, mode=mode, **PATIENT).start()
    with Loads(pair.client, pair.folder, LIGHT) as loads:
        for _ in range(2):
            loads.wait_progress(10)
            time.sleep(rng.uniform(0, 0.2))
            kill_and_start(pair, pair.b)
            loads.wait_progress(10)
            pair.wait_protected()
        loads.assert_intact(ANY, REPEATED)
    assert_goes_on(pair)

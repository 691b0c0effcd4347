# SPDX-License-Identifier: GPL-2.0-or-later
"""Clients of a protected guest notice nothing of its checkpoints, whatever makes them."""

import pytest

from netclient import Loads, Server, guest_results
from netloads import BULK, DIFFERING, LIGHT, MODES, QUIET, TALKER
from waiting import wait_for


def mismatches(node):
    return node.ctl("mismatches")["mismatches"]


def wait_checkpoints(node, count):
    node.wait_epoch(node.status()["epoch"] + count)


def assert_guest_sound(pair):
    pair.a.verify()
    pair.a.console.audit()
    pair.a.console.assert_sound()


@pytest.mark.parametrize("mode", MODES)
def test_no_answer_is_lost_doubled_or_altered_by_checkpoints(make_pair, scale, mode):
    pair = make_pair(nics=1, guest=QUIET, mode=mode).start()
    with Loads(pair.client, pair.folder, LIGHT) as loads:
        loads.wait_progress(20)
        for _ in range(scale(20, 3)):
            pair.a.ctl("checkpoint")
        loads.wait_progress(10)
        loads.assert_intact()
    assert_guest_sound(pair)


@pytest.mark.parametrize("mode", MODES)
def test_bulk_data_is_whole(make_pair, mode):
    pair = make_pair(nics=1, guest=QUIET, mode=mode).start()
    for load in BULK:
        with Loads(pair.client, pair.folder, [load]) as loads:
            loads.wait_progress(2)
            loads.assert_intact()
    assert_guest_sound(pair)


def wait_different_bytes(node, protocol):
    """Wait until answers of a protocol were found to differ."""
    def found():
        return any(m["reason"] == "payload" and m["flow"].split()[0] == protocol
                   for m in mismatches(node))

    wait_for(f"answers in {protocol} that differ", found)


def test_answers_that_differ_are_mismatches_and_reach_the_client(make_pair):
    pair = make_pair(nics=1, guest=QUIET, mode="colo").start()
    # Each alone first: the checkpoint for one lets the other's out before they are compared.
    for load in DIFFERING:
        with Loads(pair.client, pair.folder, [load]) as loads:
            loads.wait_progress(10)
            wait_different_bytes(pair.a, load[0])
            loads.assert_intact()
    with Loads(pair.client, pair.folder, DIFFERING) as loads:
        loads.wait_progress(10)
        loads.assert_intact()
    assert_guest_sound(pair)


def test_like_answers_pass_without_a_checkpoint(make_pair):
    pair = make_pair(nics=1, guest=QUIET, mode="colo", period_ms=60000).start()
    with Loads(pair.client, pair.folder, [("udp", "10.9.0.2", {"interval_us": 20000})]) as loads:
        loads.wait_progress(50)
        loads.assert_intact()
    assert pair.a.status()["proxy"]["released_by"]["match"] > 0


def test_connections_that_the_guest_makes_are_whole(make_pair):
    pair = make_pair(nics=1, guest=TALKER, mode="colo")
    server = Server(pair.client, pair.folder)
    pair.start()
    since = pair.a.console.size()
    wait_checkpoints(pair.a, 5)

    def enough():
        results = guest_results(pair.a.console, since)
        return len(results) == 4 and all(r.n > 20 for r in results.values()) and results

    for result in wait_for("the guest's connections", enough).values():
        result.assert_intact()
    server.close()
    assert_guest_sound(pair)


def test_two_network_cards_are_protected(make_pair):
    pair = make_pair(nics=2, guest=QUIET, mode="colo").start()
    assert len(pair.a.status()["proxy"]["nics"]) == 2
    specs = [(mode, address, {"interval_us": 20000}) for mode in ("tcp", "udp", "ping")
             for address in ("10.9.0.2", "10.9.16.2", "fd09:10::2")]
    with Loads(pair.client, pair.folder, specs) as loads:
        loads.wait_progress(20)
        pair.a.ctl("checkpoint")
        loads.wait_progress(10)
        loads.assert_intact()
    assert_guest_sound(pair)


def test_changes_of_mode_under_load_are_not_noticed(make_pair, scale):
    pair = make_pair(nics=1, guest=QUIET, mode="periodic").start()
    with Loads(pair.client, pair.folder, LIGHT) as loads:
        loads.wait_progress(5)
        for _ in range(scale(5, 1)):
            for mode in ("colo", "periodic", "auto", "colo", "auto", "periodic"):
                pair.a.ctl("set", "mode", mode)
                loads.wait_progress(5)
        loads.assert_intact()
    assert_guest_sound(pair)

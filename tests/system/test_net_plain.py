# SPDX-License-Identifier: GPL-2.0-or-later
"""Clients, services and network of the tests can be trusted: seen on a guest without protection."""

import pytest

from netclient import Loads, Server, guest_results
from network import GuestNet
from pair import Guest
from plain import PlainGuest
from waiting import wait_for

V4, V6 = GuestNet.v4(2), GuestNet.v6(2)
VLAN4, VLAN6 = (f(2, vlan=GuestNet.VLAN) for f in (GuestNet.v4, GuestNet.v6))
LIGHT = [
    ("tcp", {}),
    ("conn", {}),
    ("get", {"path": "/1k"}),
    ("udp", {"interval_us": 5000}),
    ("udp", {"size": 4000, "interval_us": 5000}),
    ("ping", {"interval_us": 5000}),
]
# Apart from the datagrams, which may be lost where a queue runs over.
BULK = [
    ("stream", {}),
    ("get", {"path": "/10m"}),
    ("fetch", {}),
    ("put", {}),
]
OUT = Guest(append=f"out={GuestNet.v4(1)} out={GuestNet.v6(1)}")


@pytest.fixture(name="guest", scope="module")
def fixture_guest():
    guest = PlainGuest(guest=OUT, nics=2)
    try:
        server = Server(guest.client, guest.folder)
        yield guest.start()
        server.close()
    finally:
        guest.close()


@pytest.fixture(autouse=True)
def fixture_dump(request, guest):
    request.node.colod_pairs = [guest]


@pytest.mark.parametrize("address", [V4, V6, VLAN4, VLAN6])
@pytest.mark.parametrize("modes", [LIGHT, BULK], ids=["light", "bulk"])
def test_every_load_gets_intact_answers(guest, address, modes):
    specs = [(mode, address, options) for mode, options in modes]
    with Loads(guest.client, guest.folder, specs) as loads:
        loads.wait_progress()
        loads.assert_intact()


def test_the_second_network_card_answers(guest):
    specs = [(mode, f(2, nic=1), {}) for mode in ("tcp", "ping")
             for f in (GuestNet.v4, GuestNet.v6)]
    with Loads(guest.client, guest.folder, specs) as loads:
        loads.wait_progress(10)
        loads.assert_intact()


@pytest.mark.parametrize("mode", ["tcp", "udp"])
def test_the_differing_echo_never_answers_the_same(guest, mode):
    with Loads(guest.client, guest.folder, [(mode, V4, {"port": 8})]) as loads:
        loads.wait_progress(10)
        result = loads.stop()[0]
    assert result.wrong_bytes >= result.n
    with Loads(guest.client, guest.folder, [(mode, V4, {"port": 8, "differs": 1})]) as loads:
        loads.wait_progress(10)
        loads.assert_intact()


def test_the_guest_makes_connections_of_its_own(guest):
    def enough():
        results = guest_results(guest.console)
        return len(results) == 4 and all(r.n > 20 for r in results.values()) and results

    for result in wait_for("the guest's connections", enough).values():
        result.assert_intact()


def test_a_reset_connection_is_seen(guest):
    """The checker's own check: what it must never find in a protected guest."""
    with Loads(guest.client, guest.folder, [("tcp", V4, {})]) as loads:
        loads.wait_progress()
        guest.client.run(["ss", "-K", "dst", V4])
        loads.wait_progress()
        result = loads.stop()[0]
    assert result.errors and result.why, result


def test_what_a_dead_guest_does_not_answer_is_an_error():
    guest = PlainGuest()
    try:
        guest.start()
        loads = Loads(guest.client, guest.folder,
                      [("tcp", V4, {"grace_ms": 100}),
                       ("udp", V4, {"grace_ms": 100, "interval_us": 5000})])
        with loads:
            loads.wait_progress()
            guest.proc.kill()
            guest.proc.wait()
            stuck = loads.all[1].latest().secs + 0.5
            wait_for("time to pass", lambda: loads.all[1].latest().secs > stuck)
            tcp, udp = loads.stop()
        assert tcp.errors == 1 and udp.lost > 0, (tcp, udp)
    finally:
        guest.close()


def is_silent(load):
    """Whether nothing is answered for half a second of asking."""
    seen = load.latest()
    wait_for("time to pass", lambda: load.latest().secs > seen.secs + 0.5)
    return load.latest().n == seen.n


def test_a_switched_off_port_silences_a_host(guest):
    with Loads(guest.client, guest.folder, [("udp", V4, {"interval_us": 5000})]) as loads:
        loads.wait_progress()
        guest.network.silence(guest.network.a)
        wait_for("silence", lambda: is_silent(loads.all[0]))
        guest.network.unsilence(guest.network.a)
        loads.wait_progress(10)
        assert loads.stop()[0].lost > 0

# SPDX-License-Identifier: GPL-2.0-or-later
"""A primary that nobody can reach any more gives its guest to the host that can be reached."""

import pytest

from netclient import Loads
from netloads import QUIET, STREAMS
from network import GuestNet

CONFIG = {"uplink": GuestNet.UPLINK, "uplink_delay_ms": 200, "peer_timeout_ms": 20000}


def set_carrier(pair, node, state):
    """The far end of the host's cable to the switch goes down or comes up."""
    pair.network.guest_net.link(node.host, state)


def wait_uplink(node, alive, peer_alive):
    return node.wait_status(
        f"uplink {alive}, the peer's {peer_alive}",
        lambda s: (s["uplink"]["alive"], s["uplink"]["peer_alive"]) == (alive, peer_alive))


def wait_role(pair, node):
    for one, role in ((node, "primary"), (pair.other(node), "secondary")):
        one.wait_status(role, lambda s, r=role: s["role"] == r and s["state"] == "colo")


def assert_still_primary(pair, node):
    """Also after a while: so many checkpoints that a hand-over would be done."""
    node.wait_epoch(node.status()["epoch"] + 20)
    assert node.status()["role"] == "primary"
    assert node.log().count("the guest goes there") == 0


@pytest.fixture
def pair(make_pair):
    return make_pair(guest=QUIET, nics=1, mode="periodic", period_ms=50, **CONFIG).start()


def lose_carrier(pair, node):
    set_carrier(pair, node, "down")


def lose_interface(pair, node):
    """As with a driver that fails: it is not there any more."""
    node.host.ip("link", "del", GuestNet.UPLINK)


def lose_uplink(pair, node, loads, blow):
    """The other host gets the guest, and the clients get their answers there."""
    blow(pair, node)
    wait_role(pair, pair.other(node))
    assert f"uplink {GuestNet.UPLINK} has no carrier" in node.log()
    loads.wait_progress(5)
    pair.other(node).verify()


def test_the_guest_goes_where_it_can_be_reached(pair):
    for node in (pair.a, pair.b):
        wait_uplink(node, True, True)
    pids = [node.qemu_pid() for node in (pair.a, pair.b)]
    with Loads(pair.client, pair.folder, STREAMS) as loads:
        loads.wait_progress(5)
        lose_uplink(pair, pair.a, loads, lose_carrier)
        wait_uplink(pair.b, True, False)
        # And back, when the other one is cut off: each host has its own time of rest.
        set_carrier(pair, pair.a, "up")
        wait_uplink(pair.b, True, True)
        lose_uplink(pair, pair.b, loads, lose_interface)
        loads.assert_intact()
    assert [node.qemu_pid() for node in (pair.a, pair.b)] == pids
    pair.a.console.assert_sound()


def test_the_guest_stays_when_neither_host_can_be_reached(pair):
    set_carrier(pair, pair.b, "down")
    wait_uplink(pair.a, True, False)
    assert_still_primary(pair, pair.a)
    set_carrier(pair, pair.a, "down")
    wait_uplink(pair.a, False, False)
    assert_still_primary(pair, pair.a)
    # The secondary's comes back first.
    set_carrier(pair, pair.b, "up")
    wait_role(pair, pair.b)


def test_an_uplink_that_flickers_does_not_move_the_guest(make_pair):
    config = dict(CONFIG, uplink_delay_ms=30000)
    pair = make_pair(guest=QUIET, nics=1, mode="periodic", period_ms=50, **config).start()
    for _ in range(5):
        set_carrier(pair, pair.a, "down")
        wait_uplink(pair.a, False, True)
        set_carrier(pair, pair.a, "up")
        wait_uplink(pair.a, True, True)
    assert_still_primary(pair, pair.a)


def test_an_uplink_that_is_not_there_is_refused(make_pair):
    pair = make_pair(uplink="no-such-iface")
    pair.a.start("primary")
    assert pair.a.wait_exit() != 0
    assert "no-such-iface" in pair.a.log()

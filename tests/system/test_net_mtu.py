# SPDX-License-Identifier: GPL-2.0-or-later
"""The guest takes packets as large as its bridges do, on each host, and no bridge shrinks for it."""

from netblows import CONFIG, kill_host, lose
from netclient import Loads
from netloads import QUIET, V4, V6

JUMBO = [
    ("tcp", V4, {"interval_us": 20000, "size": 20000}),
    ("udp", V4, {"interval_us": 20000, "size": 8000}),
    ("udp", V6, {"interval_us": 20000, "size": 8000}),
]


def bridge_mtu(pair, host):
    return int(host.run(["cat", f"/sys/class/net/{pair.network.guest_net.BRIDGE}/mtu"]).stdout)


def fragments_for(namespace):
    """How many pieces of packets have arrived, IPv4 and IPv6."""
    names, values = [line.split() for line in namespace.run(["cat", "/proc/net/snmp"]).stdout
                     .splitlines() if line.startswith("Ip:")]
    v6 = dict(line.split() for line in
              namespace.run(["cat", "/proc/net/snmp6"]).stdout.splitlines())
    return int(values[names.index("ReasmReqds")]) + int(v6["Ip6ReasmReqds"])


def test_jumbo_frames_stay_whole_and_survive_the_death_of_the_primary(make_pair, rng):
    pair = make_pair(nics=1, guest=QUIET, mode="colo", **CONFIG)
    pair.network.guest_net.set_mtu(9000)
    pair.start()
    assert [bridge_mtu(pair, host) for host in pair.network.guest_net.hosts] == [9000, 9000]
    with Loads(pair.client, pair.folder, JUMBO) as loads:
        loads.wait_progress(10)
        loads.assert_intact()
    lose(pair, pair.a, rng, kill_host, JUMBO)
    assert bridge_mtu(pair, pair.b.host) == 9000
    assert fragments_for(pair.client) == 0

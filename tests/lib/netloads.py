# SPDX-License-Identifier: GPL-2.0-or-later
"""Which loads the tests put on a protected guest."""

from network import GuestNet
from pair import Guest

V4, V6 = GuestNet.v4(2), GuestNet.v6(2)
VLAN4, VLAN6 = (f(2, vlan=GuestNet.VLAN) for f in (GuestNet.v4, GuestNet.v6))
CLIENT_V4, CLIENT_V6 = GuestNet.v4(1), GuestNet.v6(1)

# Slow enough for two CPUs that run both guests and all else.
STREAMS = [
    ("tcp", V4, {"interval_us": 10000}),
    ("tcp", V6, {"interval_us": 10000, "size": 3000}),
    ("conn", V4, {"interval_us": 50000}),
    ("conn", V6, {"interval_us": 50000}),
]
DATAGRAMS = [
    ("udp", V4, {"interval_us": 10000}),
    ("udp", V6, {"interval_us": 20000}),
    ("ping", V4, {"interval_us": 20000}),
    ("ping", V6, {"interval_us": 20000}),
]
LIGHT = STREAMS + DATAGRAMS
# Larger than a frame.
FRAGMENTS = [
    ("udp", V4, {"interval_us": 20000, "size": 4000}),
    ("udp", V6, {"interval_us": 20000, "size": 4000}),
    ("ping", V4, {"interval_us": 20000, "size": 4000}),
]
TAGGED = [
    ("tcp", VLAN4, {"interval_us": 20000}),
    ("conn", VLAN6, {"interval_us": 50000}),
    ("udp", VLAN4, {"interval_us": 20000}),
    ("udp", VLAN6, {"interval_us": 20000}),
]
BULK = [
    ("stream", V4, {}),
    ("fetch", V6, {"bytes": 4 << 20}),
    ("put", V4, {"bytes": 4 << 20}),
    ("get", V4, {"path": "/10m"}),
]
# Its answers are never the same on both hosts.
DIFFERING = [
    ("tcp", V4, {"port": 8, "differs": 1, "interval_us": 20000}),
    ("udp", V6, {"port": 8, "differs": 1, "interval_us": 20000}),
]
MODES = ["colo", "periodic", "auto"]
# For tests that matter with each QEMU version.
MODES_ON_QEMUS = [(mode, "system") for mode in MODES] + [("colo", "qemu10")]
# A guest that also makes connections of its own, to a Server among the clients.
TALKER = Guest(append=f"rate=200 out={CLIENT_V4} out={CLIENT_V6}")
QUIET = Guest(append="rate=200")
# Datagrams may be lost while a dead host has not been replaced yet.
ANY = 1 << 30

# SPDX-License-Identifier: GPL-2.0-or-later
"""Links that are cut, stalled, slow or damaged at random moments: guest, replica and clients stay whole."""

import time

import pytest

from faultylink import FaultyLink
from netclient import Loads
from netloads import LIGHT
from pair import Guest

LOAD = Guest(append="dirty=32,5 rate=1000")
CONFIG = {"period_ms": 20, "colo_period_ms": 200, "peer_timeout_ms": 400,
          "recover_timeout_ms": 600000}
VERIFY_EVERY = 5
PAGE = 4096
FRAME = 64 * PAGE


def at_a_random_moment(rng):
    # The one deliberate wait: where in an epoch the fault falls is left to chance.
    time.sleep(rng.uniform(0, 0.15))


def cut(pair, link, rng):
    link.order("cut")


def cut_one(pair, link, rng):
    link.order("cut", rng.choice(["control", "bulk"]))


def cut_twice(pair, link, rng):
    link.order("cut")
    at_a_random_moment(rng)
    link.order("cut")


def stall(pair, link, rng):
    link.order("stall")
    pair.a.wait_state("paused")
    link.order("go")


def stutter(pair, link, rng):
    link.order("stall")
    at_a_random_moment(rng)
    link.order("go")


def delay(pair, link, rng):
    link.order("delay", rng.choice([5, 20, 60]))
    epoch = pair.a.status()["epoch"]
    pair.a.wait_status("an epoch over the slow link",
                       lambda s: s["epoch"] > epoch or s["state"] != "colo")
    link.order("go")


def damage(pair, link, rng):
    link.order("damage", "bulk", rng.randrange(1, 4))


FAULTS = [cut, cut, cut_one, cut_twice, stall, stutter, delay, damage]


def assert_goes_on(pair):
    pair.wait_protected()
    pair.a.wait_epoch(pair.a.status()["epoch"] + 2)
    assert pair.a.status()["role"] == "primary"


@pytest.mark.parametrize("nics", [0, 1])
def test_faults_at_random_moments(make_pair, rng, scale, nics):
    mode = {"mode": rng.choice(["colo", "periodic"])} if nics else {}
    pair = make_pair(nics=nics, guest=LOAD, **CONFIG, **mode)
    link = FaultyLink(pair)
    pair.start()
    with Loads(pair.client, pair.folder, LIGHT) if nics else NoLoads() as loads:
        for i in range(scale(250, 15)):
            fault = rng.choice(FAULTS)
            print(f"round {i}: {fault.__name__}")
            at_a_random_moment(rng)
            fault(pair, link, rng)
            assert_goes_on(pair)
            if i % VERIFY_EVERY == 0:
                pair.a.verify()
        loads.wait_progress(5)
        loads.assert_intact()
    pair.a.verify()
    pair.a.console.audit()
    pair.a.console.assert_sound()


class NoLoads:
    """A guest without clients."""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def wait_progress(self, _count):
        pass

    def assert_intact(self):
        pass


def test_only_what_was_lost_is_sent_again(make_pair, rng, scale):
    """Cuts in the middle of large epochs."""
    pair = make_pair(guest=Guest(append="dirty=96,60 rate=300"), memory="256M", period_ms=1000,
                     peer_timeout_ms=2000, recover_timeout_ms=600000, bandwidth="40M")
    link = FaultyLink(pair)
    pair.start()
    for _ in range(scale(20, 3)):
        before = pair.a.status()
        pair.a.wait_status("pages of the epoch in flight", lambda s, b=before: (
            s["bytes_sent"] > b["bytes_sent"] + (4 << 20)))
        link.order("stall")
        for node in (pair.a, pair.b):
            node.wait_state("paused")
        missing = pair.a.status()["bytes_sent"] - pair.b.status()["bytes_received"]
        link.order("go")
        assert_goes_on(pair)
        after = pair.a.status()["resumes"]
        resent = after["resent_pages"] - before["resumes"]["resent_pages"]
        assert after["saved_pages"] > before["resumes"]["saved_pages"], after
        # What came of the one frame that came in part does not count, and what left of the last.
        assert resent * PAGE <= missing * 1.01 + 2 * FRAME, (resent, missing, after)
    pair.a.verify()
    pair.a.console.audit()

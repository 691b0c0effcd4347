#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What protection costs a guest's clients: rates, latencies, and the gap when the primary dies.

usage: bench/net.py [VARIANT...]    COLOD_BUILD names the build folder, QUICK=1 measures for less

VARIANT: plain, twins, colo, periodic, auto (rates and latencies), kill (gaps); all of them when none
is given.
The variants take turns on fresh guests, so that what else the machine does falls on all alike. A
case that cannot be measured, or whose answers are not intact, makes the exit code 1. Figures go to
net.jsonl; bench/report.py makes the tables.
"""

import contextlib
import os
import pathlib
import signal
import sys

sys.dont_write_bytecode = True
HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests" / "lib"))

import figures  # noqa: E402
import network  # noqa: E402
import pair as pairs  # noqa: E402
from netclient import Loads  # noqa: E402
from plain import PlainGuest  # noqa: E402

QUICK = os.environ.get("QUICK") == "1"
SECS = 1 if QUICK else 6
ROUNDS = 1 if QUICK else 3
KILLS = 1 if QUICK else 30
GUEST = pairs.Guest(append="counter=0")
V4 = network.GuestNet.v4(2)
# Without forced checkpoints, as the peer was measured; with output that waits for each one; and what
# colod makes of it by itself. The twins are two guests that nobody protects: what the machine leaves
# to one of them when another does the same beside it.
VARIANTS = {
    "plain": None,
    "twins": None,
    "colo": {"mode": "colo", "period_ms": 60000},
    "periodic": {"mode": "periodic", "period_ms": 50},
    "auto": {"mode": "auto"},
}
AUTO_SECS = 5  # until mode auto has seen enough
DOWNLOAD = "bulk download 10 MB, MB/s"
CASES = {
    "UDP echo, 64 bytes, 1/s": ("udp", {}),
    "TCP echo, one connection, 1/s": ("tcp", {}),
    "connect, echo, close, 1/s": ("conn", {}),
    "httpd GET 1 KB, 1/s": ("get", {"path": "/1k"}),
    DOWNLOAD: ("get", {"path": "/10m"}),
}
DIFFERING = {
    "UDP echo, answers differ, 1/s": ("udp", {"port": 8, "differs": 1}),
    "TCP echo, answers differ, 1/s": ("tcp", {"port": 8, "differs": 1}),
}
KILL_CASES = {
    "UDP echo every 5 ms": ("udp", {"interval_us": 5000}),
    "TCP echo every 5 ms": ("tcp", {"interval_us": 5000}),
}
KILL_CONFIG = {"mode": "colo", "period_ms": 1000, "peer_timeout_ms": 500,
               "recover_timeout_ms": 0}
LATENCIES = ("p50", "p99")


def cases(variant):
    """auto is for what differs: else it does what colo does."""
    return DIFFERING if variant == "auto" else {**CASES, **DIFFERING}


class Twins:
    """Two guests that nobody protects, each with a client and a bridge of its own."""

    def __init__(self):
        self.all = []
        try:
            for _ in range(2):
                self.all.append(PlainGuest(guest=GUEST))
        except BaseException:
            self.close()
            raise

    def start(self):
        for guest in self.all:
            guest.start()

    def dump(self):
        for guest in self.all:
            yield from guest.dump()

    def close(self):
        for guest in self.all:
            guest.close()


def boot(variant):
    if variant == "twins":
        return Twins()
    if VARIANTS[variant] is None:
        return PlainGuest(guest=GUEST)
    return pairs.Pair(guest=GUEST, nics=1, log_level="notice", **VARIANTS[variant])


def start(guest):
    if isinstance(guest, (PlainGuest, Twins)):
        guest.start()
        return
    guest.a.start("primary")
    guest.b.start("secondary")
    guest.wait_protected()
    guest.a.console.wait_text("GUEST-UP")


def run_load(guest, mode, options):
    guests = guest.all if isinstance(guest, Twins) else [guest]
    with contextlib.ExitStack() as stack:
        loads = [stack.enter_context(Loads(one.client, one.folder,
                                           [(mode, V4, {"secs": SECS, **options})]))
                 for one in guests]
        results = [one.all[0].wait() for one in loads]
    for result in results:
        result.assert_intact(may_lose=0)
    return results[0]


class Results:
    """The values of all rounds by case, variant and metric."""

    def __init__(self):
        self.values = {}

    def add(self, case, variant, result):
        rate = result.bytes / result.secs / 1e6 if case == DOWNLOAD else result.rate
        found = {"rate": rate, "p50": result.p50_us, "p99": result.p99_us}
        for metric, value in found.items():
            self.values.setdefault((case, variant, metric), []).append(value)

    def write(self, out):
        for (case, variant, metric), values in self.values.items():
            unit = "us" if metric in LATENCIES else case.rpartition(" ")[2]
            out.write(f"{variant}: {case}", metric, unit, values)


def attempt(what, act, guest):
    """Whether it could be measured; if not, says why."""
    try:
        act()
        return True
    except (AssertionError, pairs.CtlError, OSError) as why:
        print(f"net: {what} FAILED: {why}", flush=True)
        for title, text in guest.dump():
            print(f"---- {title}\n{text}")
        return False


def measure_variant(variant, results):
    guest = boot(variant)
    try:
        if not attempt(f"{variant}: boot", lambda: start(guest), guest):
            return False
        good = True
        for case, (mode, options) in cases(variant).items():
            print(f"net: {variant}: {case}", flush=True)
            if variant == "auto":
                good &= attempt(f"{variant}: {case}, before",
                                lambda m=mode, o=options:
                                run_load(guest, m, {**o, "secs": AUTO_SECS}), guest)
            good &= attempt(f"{variant}: {case}",
                            lambda c=case, m=mode, o=options:
                            results.add(c, variant, run_load(guest, m, o)), guest)
        return good
    finally:
        guest.close()


def kill_qemu(pair):
    pair.a.kill_qemu()


def silence_host(pair):
    """As if its power had failed: nobody hears from it any more."""
    pair.decide(pair.b)
    pair.network.silence(pair.a.host)


BLOWS = {"killed": kill_qemu, "host silent": silence_host}


def kill_once(blow, mode, options):
    """The longest time without an answer around the loss of the primary, ms."""
    pair = pairs.Pair(guest=GUEST, nics=1, log_level="notice", **KILL_CONFIG)
    gaps = []

    def act():
        start(pair)
        with Loads(pair.client, pair.folder, [(mode, V4, options)]) as loads:
            loads.wait_progress(100)
            loads.forget_gaps()
            blow(pair)
            pair.b.wait_state("solo")
            loads.wait_progress(100)
            result = loads.stop()[0]
        # What was asked while nobody answered is lost, and a datagram may be answered twice.
        result.assert_intact(may_lose=300, may_repeat=5)
        gaps.append(result.gap_ms)

    try:
        good = attempt(f"{blow.__name__} under {mode}", act, pair)
    finally:
        pair.close()
    return gaps if good else []


def measure_kills(out):
    good = True
    for name, blow in BLOWS.items():
        for case, (mode, options) in KILL_CASES.items():
            print(f"net: {KILLS} times {name}: {case}", flush=True)
            gaps = [gap for _ in range(KILLS) for gap in kill_once(blow, mode, options)]
            good &= len(gaps) == KILLS
            if gaps:
                out.write(f"kill: {name}: {case}", "gap", "ms", gaps)
    return good


def main():
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    wanted = sys.argv[1:] or [*VARIANTS, "kill"]
    if not set(wanted) <= {*VARIANTS, "kill"}:
        raise SystemExit(__doc__)
    network.sweep()
    if pairs.missing_files():
        raise SystemExit(f"net: not built: {', '.join(pairs.missing_files())}; run make bench")
    out = figures.Writer(pairs.BUILD / "bench" / "net.jsonl", "net")
    results = Results()
    good = True
    for _ in range(ROUNDS):
        for variant in VARIANTS:
            if variant in wanted:
                good &= measure_variant(variant, results)
    results.write(out)
    if "kill" in wanted:
        good &= measure_kills(out)
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()

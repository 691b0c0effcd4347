#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What real services in the guest cost and cause: rates, latencies, mismatches, the mode of auto.

usage: bench/services.py [VARIANT...]    COLOD_BUILD names the build folder, QUICK=1 measures for less

VARIANT: plain, colo, auto, periodic; all of them when none is given, colod's settings being its
defaults. A case that cannot be measured, an answer that is not right, or memories that differ
afterwards make the exit code 1. Figures go to services.jsonl, the first mismatches of each case and
auto's reasons to services.txt; bench/report.py makes the tables.
"""

import collections
import concurrent.futures
import functools
import os
import pathlib
import signal
import sys
import threading
import time

sys.dont_write_bytecode = True
HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests" / "lib"))

import clients  # noqa: E402
import figures  # noqa: E402
import network  # noqa: E402
import pair as pairs  # noqa: E402
from netscope import run_in  # noqa: E402
from plain import PlainGuest  # noqa: E402
from waiting import TIMEOUT_S, wait_for  # noqa: E402

QUICK = os.environ.get("QUICK") == "1"
SECS = 1 if QUICK else 6
LOOK_S = 0.2
EXPLAINED = 3
SHOWN_BEFORE, SHOWN = 4, 16
MEMORY = "256M"
# tmpfs would take half of that only.
GUEST = pairs.Guest(append="counter=0 services rootfstype=ramfs",
                    initrd=pairs.BUILD / "guest" / "initrd-services.gz")
VARIANTS = {"plain": None, "colo": "colo", "auto": "auto", "periodic": "periodic"}
QUICK_VARIANTS = ("plain", "auto")
# What makes a client, and how many there are at a time.
CASES = {
    "httpd, connect and GET 1 KB": (clients.HttpGet, 1),
    "httpd, the same by 4 clients": (clients.HttpGet, 4),
    "dropbear, log in and run a command": (clients.SshLogin, 1),
    "dropbear, lines of one session": (clients.SshSession, 1),
    "redis, SET GET INCR": (clients.Redis, 1),
    "redis, 16 of them at a time": (functools.partial(clients.Redis, batch=16), 1),
    "redis, SET GET INCR by 4 clients": (clients.Redis, 4),
    "redis, INCR of one key by 4 clients": (clients.RedisCounter, 4),
    "PostgreSQL, UPDATE and SELECT": (clients.Postgres, 1),
    "PostgreSQL, connect and SELECT": (clients.PostgresConnect, 1),
}
PROBLEMS = (AssertionError, pairs.CtlError, OSError, clients.Wrong, threading.BrokenBarrierError)


def boot(variant):
    if VARIANTS[variant] is None:
        return PlainGuest(guest=GUEST, memory=MEMORY)
    return pairs.Pair(guest=GUEST, nics=1, log_level="notice", memory=MEMORY,
                      mode=VARIANTS[variant])


def serves(guest, make):
    def once():
        with make() as client:
            client.op()

    try:
        run_in(guest.client, once)
        return True
    except (OSError, clients.Wrong):
        return False


def start(guest):
    if isinstance(guest, PlainGuest):
        guest.start()
    else:
        guest.a.start("primary")
        guest.b.start("secondary")
        guest.wait_protected()
        guest.a.console.wait_text("GUEST-UP")
    for case, (make, _) in CASES.items():
        wait_for(f"an answer to {case}", lambda m=make: serves(guest, m), interval=0.2)


class Watch:
    """What colod of the primary says of one case: counts since its begin, each mismatch."""

    def __init__(self, node):
        self.node = node
        self.before = node.status()
        self.known = max([0, *(m["number"] for m in self._ring())])
        self.seen = []

    def _ring(self):
        return self.node.ctl("mismatches", "-n", "64")["mismatches"]

    def look(self):
        """The daemon keeps the last 64 only."""
        for mismatch in self._ring():
            if mismatch["number"] > self.known:
                self.known = mismatch["number"]
                self.seen.append(mismatch)

    def end(self):
        """The counts by metric, and the status."""
        self.look()
        status = self.node.status()
        old, new = self.before["proxy"], status["proxy"]
        counts = collections.Counter(m["reason"] for m in self.seen)
        unseen = new["mismatched"] - old["mismatched"] - len(self.seen)
        if unseen > 0:
            counts["unseen"] = unseen
        for cause in ("match", "commit"):
            counts[f"by {cause}"] = new["released_by"][cause] - old["released_by"][cause]
        was, now = (s["checkpoints"]["by_trigger"]["mismatch"] for s in (self.before, status))
        counts["checkpoints"] = now - was
        if "auto" in new:
            counts["switches"] = new["auto"]["switches"] - old["auto"]["switches"]
            counts["colo"] = int(new["auto"]["now"] == "colo")
        return counts, status


class NoWatch:
    """Nobody has an opinion on a guest without colod."""

    def look(self):
        pass


class Load:
    """One case: its clients at the same time, each in a thread in the clients' namespace."""

    def __init__(self, guest, make, count):
        self.guest, self.make, self.count = guest, make, count
        self.ready = threading.Barrier(count + 1)
        self.times_us, self.secs = [], 0

    def _client(self):
        try:
            with self.make() as client:
                client.op()
                self.ready.wait(TIMEOUT_S)
                begin = now = time.monotonic()
                while now < begin + SECS:
                    client.op()
                    was, now = now, time.monotonic()
                    self.times_us.append(round(1e6 * (now - was)))
                self.secs = max(self.secs, now - begin)
        except BaseException:
            self.ready.abort()
            raise

    def run(self, watch):
        """Connections are open and have been used once before watch() is called."""
        with concurrent.futures.ThreadPoolExecutor(self.count) as pool:
            jobs = [pool.submit(run_in, self.guest.client, self._client)
                    for _ in range(self.count)]
            try:
                # They wait for this thread; what they have opened is quiet meanwhile.
                wait_for("the clients", lambda: self.ready.n_waiting == self.count or
                         self.ready.broken)
                seen = watch()
                self.ready.wait()
            except threading.BrokenBarrierError:
                pass
            except BaseException:
                self.ready.abort()
                raise
            while concurrent.futures.wait(jobs, LOOK_S).not_done:
                if not self.ready.broken:
                    seen.look()
        errors = [job.exception() for job in jobs if job.exception()]
        if errors:
            # What broke the barrier, not what that did to the others.
            raise min(errors, key=lambda e: isinstance(e, threading.BrokenBarrierError))
        return seen


def bytes_of(side):
    """Some bytes of one guest's packet, the first that differs between | and the rest."""
    data, at = bytes.fromhex(side.get("context", "")), side.get("context_at", 0)
    if not data:
        return "no bytes"

    def show(part):
        return "".join(chr(b) if 32 <= b < 127 and b != 92 else f"\\x{b:02x}" for b in part)

    return f'"{show(data[max(0, at - SHOWN_BEFORE):at])}|{show(data[at:at + SHOWN])}"'


def explain(mismatch):
    flow = mismatch.get("flow", "no flow")
    lines = [f"    {mismatch['reason']}, {flow}, offset {mismatch['offset']}"
             f"{': ' if mismatch['what'] else ''}{mismatch['what'] or ''}"]
    if mismatch["reason"] == "payload":
        lines += [f"      {side:10} {bytes_of(mismatch[side])}"
                  for side in ("primary", "secondary")]
    return lines


class Results:
    """Figures and words; each is on disk as soon as it is known."""

    def __init__(self, folder):
        self.out = figures.Writer(folder / "services.jsonl", "services")
        self.text_path = folder / "services.txt"
        self.text_path.write_text("")

    def add_load(self, name, load):
        ordered = sorted(load.times_us)
        self.out.write(name, "rate", "1/s", [len(ordered) / load.secs])
        self.out.write(name, "ops", "count", [len(ordered)])
        for percent in (50, 99):
            self.out.write(name, f"p{percent}", "us", [figures.quantile(ordered, percent)])

    def add_counts(self, name, watch):
        counts, status = watch.end()
        for metric, count in counts.items():
            self.out.write(name, metric, "count", [count])
        words = []
        auto = status["proxy"].get("auto")
        if auto:
            words.append(f"    ends in {auto['now']}; last change: {auto['why'] or 'none'}")
        for mismatch in watch.seen[:EXPLAINED]:
            words += explain(mismatch)
        if words:
            text = "\n".join([f"  {name}", *words])
            print(text, flush=True)
            with open(self.text_path, "a", encoding="ascii", errors="replace") as out:
                out.write(text + "\n")


def attempt(what, act, guest):
    """Whether it could be measured; if not, says why."""
    try:
        act()
        return True
    except PROBLEMS as why:
        print(f"services: {what} FAILED: {why!r}", flush=True)
        for title, text in guest.dump():
            print(f"---- {title}\n{text}")
        return False


def measure_case(guest, name, case, results):
    print(f"services: {name}", flush=True)
    load = Load(guest, *CASES[case])
    if isinstance(guest, PlainGuest):
        load.run(NoWatch)
        results.add_load(name, load)
    else:
        watch = load.run(lambda: Watch(guest.a))
        results.add_load(name, load)
        results.add_counts(name, watch)


def measure(variant, cases, results):
    guest = boot(variant)
    try:
        if not attempt(f"{variant}: boot", lambda: start(guest), guest):
            return False
        good = True
        for case in cases:
            name = f"{variant}: {case}"
            good &= attempt(name, lambda n=name, c=case: measure_case(guest, n, c, results), guest)
        if not isinstance(guest, PlainGuest):
            good &= attempt(f"{variant}: memory of both hosts", guest.a.verify, guest)
        return good
    finally:
        guest.close()


def measure_variant(variant, results):
    """Auto remembers how comparing went, so each case gets it anew."""
    if variant != "auto" or QUICK:
        return measure(variant, CASES, results)
    return all([measure(variant, [case], results) for case in CASES])


def main():
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    wanted = sys.argv[1:] or (QUICK_VARIANTS if QUICK else VARIANTS)
    if not set(wanted) <= set(VARIANTS):
        raise SystemExit(__doc__)
    network.sweep()
    missing = pairs.missing_files() or [str(p) for p in [GUEST.initrd] if not p.exists()]
    if missing:
        raise SystemExit(f"services: not built: {', '.join(missing)}; run make bench-services")
    results = Results(pairs.BUILD / "bench")
    good = True
    for variant in VARIANTS:
        if variant in wanted:
            good &= measure_variant(variant, results)
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()

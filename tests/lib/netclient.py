# SPDX-License-Identifier: GPL-2.0-or-later
"""Clients of the guest that check every byte, and connections that the guest makes itself."""

import dataclasses
import json
import signal
import subprocess

from pair import BUILD
from waiting import wait_for

NETLOAD = BUILD / "guest" / "netload"
NETD = BUILD / "guest" / "netd"
# What is under way when a load ends has this long to come to its end: retransmissions back off.
GRACE_MS = 60000


@dataclasses.dataclass
class Result:
    """What tests/guest/netload.c has counted."""

    mode: str
    to: str
    n: int
    errors: int
    resets: int
    lost: int
    duplicated: int
    reordered: int
    wrong_bytes: int
    bytes: int
    gap_ms: float
    secs: float
    why: str
    rate: float = 0
    p50_us: int = 0
    p90_us: int = 0
    p99_us: int = 0
    max_us: int = 0

    def assert_intact(self, may_lose=0, may_repeat=0, may_reorder=None):
        """No byte lost, duplicated or altered, no connection broken, datagrams in their order.

        The allowances are for datagrams only: TCP knows neither.
        """
        assert self.n > 0, f"no answer at all: {self}"
        assert (self.errors, self.resets, self.wrong_bytes) == (0, 0, 0), self
        may_reorder = may_repeat if may_reorder is None else may_reorder
        assert self.duplicated <= may_repeat and self.reordered <= may_reorder, self
        assert self.lost <= may_lose, self


def results_in(text):
    """The results among the lines of a text; a line that is cut off is none."""
    found = []
    for line in text.replace("\r", "").split("\n")[:-1]:
        if line.startswith('{"mode"') and line.endswith("}"):
            try:
                found.append(Result(**json.loads(line)))
            except (ValueError, TypeError):
                continue
    return found


class Load:
    """One netload in a namespace, from start() to stop()."""

    def __init__(self, namespace, folder, mode, address, **options):
        self.mode, self.address = mode, address
        words = [f"{key}={value}" for key, value in {"grace_ms": GRACE_MS, **options}.items()]
        name = "-".join(["load", mode, address, *words]).replace("/", "_")
        self.log_path = folder / name[:200]
        self.argv = [NETLOAD, mode, address, *words]
        self.namespace, self.proc = namespace, None

    def start(self):
        with open(self.log_path, "wb") as log:
            self.proc = self.namespace.popen(self.argv, stdin=subprocess.DEVNULL, stdout=log,
                                             stderr=log)
        return self

    def latest(self):
        """The result so far, None when there is none yet."""
        assert self.proc.poll() in (None, 0), self.log_path.read_text()
        found = results_in(self.log_path.read_text())
        return found[-1] if found else None

    def count(self):
        latest = self.latest()
        return latest.n if latest else 0

    def wait_progress(self, answers=1):
        """Wait for so many further answers."""
        enough = self.count() + answers
        wait_for(f"{answers} answers to {self.mode} at {self.address}",
                 lambda: self.count() >= enough)

    def forget_gap(self):
        """From now on the longest gap is measured anew."""
        self.proc.send_signal(signal.SIGUSR1)

    def stop(self):
        """End the load; the final result."""
        self.proc.send_signal(signal.SIGTERM)
        return self.wait()

    def wait(self):
        """For a load that ends by itself (secs=N)."""
        self.proc.wait(GRACE_MS / 1000 + 3600)
        assert self.proc.returncode == 0, self.log_path.read_text()
        return self.latest()


def meet(namespace, folder, addresses):
    """Have both ends know each other's hardware address.

    Until they do, a kernel keeps only some datagrams for a neighbour and drops the rest (arp(7),
    unres_qlen_bytes), however the guest is protected.
    """
    for address in sorted(set(addresses)):
        load = Load(namespace, folder, "ping", address, interval_us=20000).start()
        load.wait_progress(2)
        load.stop()


class Loads:
    """Several loads at once; whatever happens inside the block, none outlives it."""

    def __init__(self, namespace, folder, specs):
        self.namespace, self.folder = namespace, folder
        self.all = [Load(namespace, folder, mode, address, **options)
                    for mode, address, options in specs]

    def __enter__(self):
        meet(self.namespace, self.folder, (load.address for load in self.all))
        for load in self.all:
            load.start()
        return self

    def __exit__(self, *exc):
        for load in self.all:
            if load.proc and load.proc.poll() is None:
                load.proc.kill()
                load.proc.wait()

    def wait_progress(self, answers=1):
        for load in self.all:
            load.wait_progress(answers)

    def forget_gaps(self):
        for load in self.all:
            load.forget_gap()

    def stop(self):
        """End all loads, at the same time; their results."""
        for load in self.all:
            load.proc.send_signal(signal.SIGTERM)
        return [load.wait() for load in self.all]

    def assert_intact(self, may_lose=0, may_repeat=0, may_reorder=None):
        results = self.stop()
        for result in results:
            result.assert_intact(may_lose, may_repeat, may_reorder)
        return results


class Server:
    """netd among the clients: the other end of the connections that the guest makes (out=)."""

    def __init__(self, namespace, folder):
        with open(folder / "netd", "wb") as log:
            self.proc = namespace.popen([NETD], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        wait_for("netd", lambda: "netd on" in (folder / "netd").read_text())

    def close(self):
        self.proc.kill()
        self.proc.wait()


def guest_results(console, since=0):
    """What the guest says of its own connections: the latest result by mode and address."""
    return {(result.mode, result.to): result for result in results_in(console.text(since))}

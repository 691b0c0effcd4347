#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Checkpoints of a 1 GB guest under several loads: pause and its parts, commit, bytes, memory.

usage: bench/ckpt.py    COLOD_BUILD names the build folder, QUICK=1 takes fewer and smaller cases

A case that cannot be measured, or after which the memories differ, makes the exit code 1; the
other cases are measured all the same.
"""

import dataclasses
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

sys.dont_write_bytecode = True
HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests" / "lib"))

import figures  # noqa: E402
import network  # noqa: E402
import pair as pairs  # noqa: E402
from waiting import wait_for  # noqa: E402

QUICK = os.environ.get("QUICK") == "1"
MEMORY_MB = 1024
# Larger than what the fastest load writes in several epochs.
WORKING_SET_MB = 512
PERIOD_MS = 100
PAGE_BYTES = 4096
# The guest's boot and the dirtier's first touch of its pages are not the load to be measured.
WARM_UP = 10 if QUICK else 40
# colod keeps the last 1024 and gives page copies' memory back when 128 epochs have not needed it.
MOST_SAMPLES = 1000
MEMORY_EPOCHS = 128
# Looking more often would be a load of its own.
POLL_S = 0.5
# An overloaded host takes a second and more for one checkpoint.
CASE_TIMEOUT_S = 600
QUICK_CASE_S = 8
PARTS = ("stop", "scan", "copy", "save", "cont")


@dataclasses.dataclass
class Case:
    """A load on the guest; then, on the same guest, checkpoints without any pause between them."""

    dirty_mb: int
    samples: int
    back_to_back: int = 0

    def name(self):
        return f"{self.dirty_mb} MB per {PERIOD_MS} ms" if self.dirty_mb else "idle"

    def guest(self):
        load = f" dirty={WORKING_SET_MB},{self.dirty_mb}" if self.dirty_mb else ""
        return pairs.Guest(append=f"counter=0{load}")

    def booted_text(self):
        return "dirty on" if self.dirty_mb else "GUEST-UP"


CASES = [Case(0, 300, 1000), Case(5, 300), Case(20, 300), Case(100, 300)]
QUICK_CASES = [Case(0, 30, 100), Case(20, 30)]


def ask(node, **request):
    """One question on the control socket; starting colo-ctl would take CPU from the guest."""
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(pairs.TIMEOUT_S)
        s.connect(str(node.socket_path))
        s.sendall(json.dumps(request).encode() + b"\n")
        with s.makefile("rb") as answer:
            reply = json.loads(answer.readline())
    assert reply.pop("ok"), reply
    return reply


def samples(node, count):
    return ask(node, cmd="samples", count=count)["samples"]


def own_memory(node):
    """Bytes of colod's private memory; guest RAM, which it shares with QEMU, is RssShmem."""
    for line in pathlib.Path(f"/proc/{node.proc.pid}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(f"no RssAnon of colod on {node.folder.name}: it has ended")


def let_pass(pair, count):
    """Wait until count checkpoints have been committed from now on; the first one's epoch."""
    first = pair.a.status()["epoch"] + 1
    enough_at = time.monotonic() + (QUICK_CASE_S if QUICK else CASE_TIMEOUT_S)

    def passed():
        pair.a.assert_runs()
        pair.b.assert_runs()
        done = samples(pair.a, 1)[0]["epoch"] - first + 1
        return done >= count or (QUICK and done > 1 and time.monotonic() > enough_at)

    wait_for(f"{count} checkpoints", passed, CASE_TIMEOUT_S, POLL_S)
    return first


@dataclasses.dataclass
class Run:
    """What a stretch of checkpoints brought."""

    taken: list
    bytes_each: float
    memory: dict
    dirty_set: int

    def per_second(self):
        return 1000 * (len(self.taken) - 1) / (self.taken[-1]["at_ms"] - self.taken[0]["at_ms"])


def measure(pair, count):
    assert count <= MOST_SAMPLES
    before = pair.a.status()
    first = let_pass(pair, count)
    after = pair.a.status()
    memory = {"primary": own_memory(pair.a), "secondary": own_memory(pair.b)}
    recent = samples(pair.a, MOST_SAMPLES)
    taken = [s for s in recent if s["epoch"] >= first]
    assert after["state"] == "colo" and after["checkpoints"]["failed"] == 0, after
    bytes_each = ((after["bytes_sent"] - before["bytes_sent"])
                  / (after["epoch"] - before["epoch"]))
    return Run(taken, bytes_each, memory, dirty_set(recent[-MEMORY_EPOCHS:]))


def dirty_set(taken):
    """Bytes of the largest epoch."""
    return max(s["dirty_pages"] for s in taken) * PAGE_BYTES


def rest_of(sample):
    """The pause without its parts: hand-overs between threads and processes, and waiting for a CPU.

    Scan and copy run beside the saving of the devices, so only the longer of the two counts.
    """
    beside = max(sample["scan_us"] + sample["copy_us"], sample["save_us"])
    return max(0, sample["pause_us"] - sample["stop_us"] - beside - sample["cont_us"])


def write_run(out, name, run):
    def column(key):
        return [s[key] for s in run.taken]

    out.write(name, "pause", "us", column("pause_us"))
    for part in PARTS:
        out.write(name, part, "us", column(f"{part}_us"))
    out.write(name, "rest", "us", [rest_of(s) for s in run.taken])
    out.write(name, "commit", "us", column("commit_us"))
    out.write(name, "rate", "1/s", [run.per_second()])
    out.write(name, "sent", "bytes", [run.bytes_each])
    out.write(name, "dirty", "pages", column("dirty_pages"))
    out.write(name, "last", "pages", column("last_pages"))


def write_memory(out, name, run):
    """How far each colod's memory goes beyond what it must hold."""
    needed = {"primary": run.dirty_set, "secondary": run.dirty_set + (MEMORY_MB << 20)}
    out.write(name, "dirty_set", "bytes", [run.dirty_set])
    for role, used in run.memory.items():
        out.write(name, f"memory_{role}", "bytes", [used])
        out.write(name, f"memory_overhead_{role}", "bytes", [used - needed[role]])


def boot(pair, case):
    pair.a.start("primary")
    pair.b.start("secondary")
    pair.wait_protected()
    pair.a.console.wait_text(case.booted_text())
    let_pass(pair, WARM_UP)


def run_case(pair, case, out):
    boot(pair, case)
    run = measure(pair, case.samples)
    write_run(out, case.name(), run)
    write_memory(out, case.name(), run)
    if case.back_to_back:
        pair.a.ctl("set", "period_ms", "0")
        write_run(out, f"{case.name()}, back to back", measure(pair, case.back_to_back))
    pair.a.verify()
    pair.a.console.assert_sound()


def try_case(case, out):
    """Whether the case could be measured; if not, says why."""
    began = time.monotonic()
    print(f"ckpt: {case.name()} ...", end="", flush=True)
    pair = pairs.Pair(guest=case.guest(), memory=f"{MEMORY_MB}M", period_ms=PERIOD_MS,
                      log_level="notice")
    try:
        run_case(pair, case, out)
        print(f" {time.monotonic() - began:.0f} s", flush=True)
        return True
    except (AssertionError, pairs.CtlError, OSError, subprocess.TimeoutExpired) as why:
        print(f" FAILED: {why}", flush=True)
        for title, text in pair.dump():
            print(f"---- {title}\n{text}")
        return False
    finally:
        pair.close()


def main():
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    network.sweep()
    if pairs.missing_files():
        raise SystemExit(f"ckpt: not built: {', '.join(pairs.missing_files())}; run make bench")
    out = figures.Writer(pairs.BUILD / "bench" / "ckpt.jsonl", "ckpt")
    results = [try_case(case, out) for case in (QUICK_CASES if QUICK else CASES)]
    sys.exit(0 if all(results) else 1)


if __name__ == "__main__":
    main()

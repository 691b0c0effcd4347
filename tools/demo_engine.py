# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest without a network that outlives its host: checkpoints, memory, the kill, its console."""

import json
import time

import pair as pairs
from demo_show import boot, ctl, milliseconds, show, show_table, step, tail
from waiting import wait_for

TICK_MS = 20
PAIR = {
    "guest": pairs.Guest(append=f"dirty=32,5 counter=8 rate=1000 tick={TICK_MS}"),
    "period_ms": 100,
    "peer_timeout_ms": 1000,
    "log_level": "notice",
}
WATCH_LINES = 6


def live_view(pair):
    step("Live view: the guest writes memory all the time, checkpoints follow")
    ctl(pair.a, "watch", "--interval", "500", "--count", str(WATCH_LINES))


def proof(pair):
    step("The two memories are compared, page by page")
    ctl(pair.a, "verify")
    pair.a.verify()
    step("status --json (excerpt)")
    status = pair.a.status()
    excerpt = ("role", "state", "epoch", "synced", "checkpoints", "pause_us", "commit_us",
               "dirty_pages")
    show(json.dumps({key: status.get(key) for key in excerpt}, indent=2))
    return status


def last_committed_tick(pair):
    tick = pair.a.console.last_tick()
    pair.a.wait_epoch(pair.a.status()["epoch"] + 2)
    return tick


def kill(pair):
    """Returns the gap in milliseconds and the numbers of the last tick on a, the first on b."""
    step("kill -9 on the primary's QEMU")
    floor = last_committed_tick(pair)
    pair.a.kill_qemu()
    killed = time.monotonic()
    wait_for("the secondary's console", pair.b.console.size, interval=0.001)
    gap_ms = (time.monotonic() - killed) * 1000
    last = pair.a.console.last_tick()
    show(f"the end of host a's console (tick {floor} was in a checkpoint before the kill):")
    tail(pair.a, lines=3)
    status = pair.b.wait_state("solo")
    show(f"host b is now {status['role']}, state {status['state']}; its console carries on:")
    wait_for("ticks on host b", lambda: len(pair.b.console.ticks()) >= 50)
    pair.b.console.send("counters")
    wait_for("the guest's audit", lambda: "counters ok" in pair.b.console.text())
    tail(pair.b, lines=8)
    first = pair.b.console.ticks()[0]
    assert floor < first <= last + 2, (floor, first, last)
    return gap_ms, last, first


def damage(pair):
    """Ticks that are missing on host b, and complaints of the guest about its memory."""
    ticks = pair.b.console.ticks()
    missing = sum(later - earlier - 1 for earlier, later in zip(ticks, ticks[1:]))
    corrupt = sum(node.console.text().count("CORRUPT") for node in (pair.a, pair.b))
    return missing, corrupt


def summary(pair, status, gap_ms, last, first):
    step("Summary")
    missing, corrupt = damage(pair)
    pause = status["pause_us"]
    rows = [
        ("checkpoints", status["checkpoints"]["count"]),
        ("guest pause p50 / p99", f"{milliseconds(pause['p50'])} / {milliseconds(pause['p99'])}"),
        ("commit p50", milliseconds(status["commit_us"]["p50"])),
        ("from the kill to the guest's first output on host b",
         f"{gap_ms:.0f} ms (it prints each {TICK_MS} ms)"),
        ("ticks since the last checkpoint, printed again", max(0, last - first + 1)),
        ("ticks missing on host b", missing),
        ("counter pages found corrupt by the guest", corrupt),
    ]
    show_table(rows)
    if missing or corrupt:
        raise SystemExit("demo: the guest was damaged")


def run(pair):
    boot(pair)
    live_view(pair)
    status = proof(pair)
    gap = kill(pair)
    summary(pair, status, *gap)

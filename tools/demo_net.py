# SPDX-License-Identifier: GPL-2.0-or-later
"""What the guest's clients notice when its host dies: nothing but a pause."""

import time

import pair as pairs
from demo_show import boot, ctl_lines, say, short_time, show, show_table, step
from netclient import Load, Loads
from network import GuestNet
from waiting import wait_for

PAIR = {
    "guest": pairs.Guest(append="counter=4 rate=50"),
    "nics": 1,
    "mode": "colo",
    "log_level": "notice",
}
GUEST = GuestNet.v4(2)
PORT_DIFFERS = 8
ASK_EVERY_US = 10000
FILE_BYTES = 1 << 18
CLIENTS = [
    ("tcp", GUEST, {"interval_us": ASK_EVERY_US}),
    ("fetch", GUEST, {"bytes": FILE_BYTES}),
]
VIEW_ROWS = 7
VIEW_EVERY_S = 0.5


# ---- the live view

VIEW_HEAD = ("   time | client: answers   files      MB | host a      host b      | "
             "epoch  compared  held  hold p50  mismatches")


def where(status):
    return f"{status['role'][:4]} {status['state']}" if status else "-"


def comparing(status):
    proxy = (status or {}).get("proxy")
    if not proxy or proxy["side"] != "primary":
        return "(nothing is compared)"
    hold = short_time(proxy["hold_us"]["p50"])
    return (f"{status['epoch']:5}{proxy['matched']:10}{proxy['held']:6}{hold:>10}"
            f"{proxy['mismatched'] + proxy['timed_out']:12}")


class View:
    """One line for each moment: what the client has got, and what the two hosts are doing."""

    def __init__(self, pair, loads):
        self.pair, self.loads, self.began = pair, loads, time.monotonic()
        say(VIEW_HEAD, "1")

    def row(self):
        asked, files = (load.latest() for load in self.loads.all)
        a, b = self.pair.a.status_or_none(), self.pair.b.status_or_none()
        show(f"{time.monotonic() - self.began:4.1f}s |{asked.n if asked else 0:16}"
             f"{files.n if files else 0:8}{(files.bytes if files else 0) / 1e6:8.1f} | "
             f"{where(a):12}{where(b):12}| {comparing(a)}")

    def rows(self, count):
        for _ in range(count):
            self.row()
            time.sleep(VIEW_EVERY_S)


# ---- the acts

def live_view(pair, loads):
    step(f"A client asks the guest each {ASK_EVERY_US // 1000} ms on one TCP connection and"
         " downloads file after file")
    show("Both guests get its packets; an answer leaves host a when both guests have given it.")
    View(pair, loads).rows(VIEW_ROWS)


def of_service(mismatch):
    return f"{GUEST}:{PORT_DIFFERS} " in mismatch


def explained(pair):
    """What colo-ctl tells of the service whose answers differ, None as long as it does not."""
    for mismatch in pair.a.ctl("mismatches")["mismatches"]:
        if of_service(mismatch.get("flow", "")) and mismatch["reason"] == "payload":
            return mismatch["number"]
    return None


def explain(pair):
    """The guest tells its clock in an answer: no two guests say the same."""
    step("A service whose answers cannot be the same: a mismatch, its checkpoint, its explanation")
    load = Load(pair.client, pair.folder, "tcp", GUEST, port=PORT_DIFFERS, differs=1,
                interval_us=100000)
    load.start()
    try:
        number = wait_for("a mismatch", lambda: explained(pair))
        answers = load.stop()
    finally:
        load.proc.kill()
        load.proc.wait()
    answers.assert_intact()
    text = "".join(ctl_lines(pair.a, "mismatches", "-n", "64"))
    shown = [one for one in text.split("\n\n") if one.startswith(f"mismatch {number},")]
    show("\n\n".join(shown))
    show("Answers that differ wait until host b's guest has become a copy of host a's: the client"
         f" got {answers.n}, intact.")


def kill(pair, loads):
    """kill -9 in the middle of it all; the longest gap of the client before that."""
    step("kill -9 on the primary's QEMU, in the middle of a request and of a download")
    view = View(pair, loads)
    view.rows(2)
    before = loads.all[0].latest().gap_ms
    loads.forget_gaps()
    pair.a.kill_qemu()
    say("        kill -9 on host a", "1;31")
    view.rows(2)
    for load in loads.all:
        load.wait_progress(3)
    pair.b.wait_state("solo")
    view.rows(3)
    return before


def summary(asked, files, before_ms, proxy):
    step("Summary")
    lost = asked.errors + asked.lost + files.errors
    resets, wrong = asked.resets + files.resets, asked.wrong_bytes + files.wrong_bytes
    hold = proxy["hold_us"]
    show_table([
        ("requests answered" if lost else "requests answered, all on one connection", asked.n),
        ("requests and downloads lost", lost),
        ("connections reset", resets),
        ("longest gap between two answers, around the kill",
         f"{asked.gap_ms:.0f} ms (before it: {before_ms:.0f} ms)"),
        ("downloaded", f"{files.n} files, {files.bytes} bytes"),
        ("bytes compared with what they had to be / wrong",
         f"{asked.bytes + files.bytes} / {wrong}"),
        ("packets of the two guests found equal on host a", proxy["matched"]),
        ("a packet was held, p50 / p99",
         f"{short_time(hold['p50'])} / {short_time(hold['p99'])}"),
    ])
    if lost or resets or wrong:
        raise SystemExit(f"demo: the clients noticed: {asked.why or files.why}")


def run(pair):
    boot(pair)
    with Loads(pair.client, pair.folder, CLIENTS) as loads:
        loads.wait_progress()
        live_view(pair, loads)
        explain(pair)
        proxy = pair.a.status()["proxy"]
        before_ms = kill(pair, loads)
        asked, files = loads.stop()
    summary(asked, files, before_ms, proxy)

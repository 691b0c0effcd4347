# SPDX-License-Identifier: GPL-2.0-or-later
"""A link that is cut and mended under load: no failover, no reset, and the epoch goes on."""

import time

import pair as pairs
from demo_net import ASK_EVERY_US, GUEST, View
from demo_show import boot, ctl, say, show, show_table, step
from faultylink import FaultyLink
from netclient import Loads

PAIR = {
    "guest": pairs.Guest(append="dirty=64,20 counter=4 rate=200"),
    "nics": 1,
    "mode": "periodic",
    "period_ms": 500,
    "peer_timeout_ms": 500,
    "recover_timeout_ms": 600000,
    "log_level": "notice",
}
CLIENTS = [
    ("tcp", GUEST, {"interval_us": ASK_EVERY_US}),
    ("fetch", GUEST, {"bytes": 1 << 18}),
]
CUTS = 4
PAGE_BYTES = 4096


def cut(pair, link, view):
    """The cable is out for a second; returns how long the client waited."""
    view.loads.forget_gaps()
    before = pair.a.status()
    pair.a.wait_status("pages of the epoch in flight",
                       lambda s: s["bytes_sent"] > before["bytes_sent"] + (1 << 20))
    say("        the cable is pulled out", "1;31")
    link.order("stall")
    for node in (pair.a, pair.b):
        node.wait_state("paused")
    view.rows(2)
    say("        and put in again", "1;32")
    link.order("go")
    pair.wait_protected()
    for load in view.loads.all:
        load.wait_progress(3)
    view.rows(1)
    return view.loads.all[0].latest().gap_ms


def cuts(pair, link, loads):
    step("The cable between the hosts is pulled out and put in again, in the middle of an epoch")
    show("The guest runs on meanwhile; what it says is held until its epoch is on host b.")
    view = View(pair, loads)
    view.rows(2)
    return [cut(pair, link, view) for _ in range(CUTS)]


def operator(pair):
    step("The operator takes the link apart himself")
    ctl(pair.a, "pause")
    show(f"host a: {pair.a.wait_state('paused')['state']}, host b: "
         f"{pair.b.wait_state('paused')['state']}; nobody goes on alone, however long it takes")
    ctl(pair.a, "recover")
    pair.wait_protected()
    ctl(pair.a, "verify")
    pair.a.verify()


def summary(asked, files, gaps, status):
    step("Summary")
    lost = asked.errors + asked.lost + files.errors
    resets, wrong = asked.resets + files.resets, asked.wrong_bytes + files.wrong_bytes
    resumes = status["resumes"]
    show_table([
        ("times the link was lost and the session went on", resumes["count"]),
        ("first copies of the guest's memory", status["checkpoints"]["by_trigger"]["first"]),
        ("pages of epochs in flight that were there already",
         f"{resumes['saved_pages']} ({resumes['saved_pages'] * PAGE_BYTES >> 10} KB saved)"),
        ("pages that were lost and sent again", resumes["resent_pages"]),
        ("longest gap between two answers, each time",
         ", ".join(f"{gap:.0f} ms" for gap in gaps)),
        ("requests answered, all on one connection", asked.n),
        ("requests and downloads lost / connections reset", f"{lost} / {resets}"),
        ("bytes compared with what they had to be / wrong",
         f"{asked.bytes + files.bytes} / {wrong}"),
    ])
    first = status["checkpoints"]["by_trigger"]["first"]
    if lost or resets or wrong or first != 1 or status["role"] != "primary":
        raise SystemExit(f"demo: the cut was noticed: {asked.why or files.why}")


def run(pair):
    link = FaultyLink(pair)
    boot(pair)
    with Loads(pair.client, pair.folder, CLIENTS) as loads:
        loads.wait_progress()
        gaps = cuts(pair, link, loads)
        operator(pair)
        time.sleep(0.5)
        asked, files = loads.stop()
    summary(asked, files, gaps, pair.a.status())

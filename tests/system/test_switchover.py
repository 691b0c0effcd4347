# SPDX-License-Identifier: GPL-2.0-or-later
"""The planned switch-over: the guest moves, nothing is lost, both QEMUs stay."""

import contextlib
import os
import pathlib
import subprocess
import sys

import pytest

from console import assert_consecutive, ticks_in
from pair import CtlError, Guest
from waiting import TIMEOUT_S, wait_for

LOAD = Guest(append="dirty=32,5 rate=1000")


class JoinedConsole:
    """The consoles of both hosts as the guest wrote them: one after the other, byte by byte."""

    def __init__(self, pair):
        self.read = {pair.a: 0, pair.b: 0}
        self.text = ""

    def take(self, node):
        text = node.console.text(self.read[node])
        self.read[node] += len(text)
        self.text += text


def switch(pair, source, asked):
    target = pair.other(source)
    answer = asked.ctl("failover")
    target.wait_status("the primary's role",
                       lambda s: s["role"] == "primary" and s["state"] == "colo")
    source.wait_status("the secondary's role",
                       lambda s: s["role"] == "secondary" and s["state"] == "colo")
    return answer


def go_on(node, ticks):
    before = node.console.last_tick()
    wait_for("further ticks", lambda: node.console.last_tick() >= before + ticks)


@pytest.mark.core
def test_the_guest_moves_back_and_forth_without_loss(make_pair, scale):
    pair = make_pair(guest=LOAD).start()
    pids = [node.qemu_pid() for node in (pair.a, pair.b)]
    joined = JoinedConsole(pair)
    source = pair.a
    for i in range(scale(10, 4)):
        go_on(source, 3)
        # Either operator may ask for it.
        switch(pair, source, source if i % 2 == 0 else pair.other(source))
        joined.take(source)
        source = pair.other(source)
        source.verify()
    go_on(source, 10)
    source.console.audit()
    joined.take(source)
    assert [node.qemu_pid() for node in (pair.a, pair.b)] == pids
    assert "CORRUPT" not in joined.text
    ticks = ticks_in(joined.text)
    assert_consecutive(ticks)
    assert ticks[0] == 1 and joined.text.count("GUEST-UP") == 1


def test_a_running_secondary_can_be_switched_to(make_pair):
    pair = make_pair(guest=LOAD, run_secondary="yes").start()
    source = pair.a
    for _ in range(4):
        tick = source.console.last_tick()
        switch(pair, source, source)
        source = pair.other(source)
        assert source.console.wait_ticks(10)[0] >= tick
        source.verify()
        source.console.audit()


def test_protection_goes_on_after_a_switch(make_pair):
    pair = make_pair(guest=LOAD).start()
    switch(pair, pair.a, pair.a)
    go_on(pair.b, 3)
    tick = pair.b.console.last_tick()
    pair.b.wait_epoch(pair.b.status()["epoch"] + 2)
    since = pair.a.console.size()
    pair.b.kill_qemu()
    pair.a.wait_state("solo")
    assert pair.a.console.wait_ticks(10, since)[0] > tick
    pair.a.console.audit()


def test_a_switch_without_a_synchronised_peer_is_refused(make_pair):
    pair = make_pair()
    pair.a.start("primary")
    pair.wait_booted(pair.a)
    with pytest.raises(CtlError) as refused:
        pair.a.ctl("failover")
    assert refused.value.code == 1 and refused.value.text
    pair.a.console.wait_ticks(5)
    pair.b.start("secondary")
    pair.wait_protected()


def test_a_forced_failover_makes_the_secondary_live(make_pair):
    """The operator's word that the primary is dead: here it is only cut off."""
    pair = make_pair(guest=LOAD, peer_timeout_ms=600000).start()
    tick = pair.a.console.last_tick()
    pair.a.wait_epoch(pair.a.status()["epoch"] + 2)
    pair.network.cut()
    pair.b.ctl("failover", "--force")
    pair.b.wait_state("solo")
    assert pair.b.console.wait_ticks(10, since=0)[0] > tick
    pair.b.console.audit()


def threads(node, name):
    tasks = pathlib.Path(f"/proc/{node.proc.pid}/task")
    return [int(task.name) for task in tasks.iterdir()
            if (task / "comm").read_text().strip() == name]


# Reads a log until the guest is handed over, and takes the CPU from all other programs then.
HOLD = """
import os, sys, time
os.sched_setaffinity(0, {int(sys.argv[2])})
os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
with open(sys.argv[1]) as log:
    log.seek(0, os.SEEK_END)
    print("reads", flush=True)
    text = ""
    while "event=handed_over role=primary" not in text:
        time.sleep(0.0002)
        text += log.read()
end = time.monotonic() + 0.3
while time.monotonic() < end:
    pass
"""


@contextlib.contextmanager
def held_up_after_the_handover(node, thread, source):
    """A thread of colod gets no time for a moment once source has handed the guest over.

    Not before: a switch-over that makes no progress for 2 s is given up.
    """
    tids = threads(node, thread)
    cpus = os.sched_getaffinity(node.proc.pid)
    assert tids, f"no thread {thread}"
    with contextlib.ExitStack() as stack:
        for tid in tids:
            os.sched_setaffinity(tid, {min(cpus)})
            stack.callback(os.sched_setaffinity, tid, cpus)
        hold = stack.enter_context(subprocess.Popen(
            [sys.executable, "-c", HOLD, source.log_path, str(min(cpus))],
            stdout=subprocess.PIPE))
        stack.callback(hold.kill)
        assert hold.stdout.readline(), "nobody holds the thread up"
        yield
        assert hold.wait(TIMEOUT_S) == 0


def test_a_switch_waits_for_a_host_that_is_slow_to_change_sides(make_pair):
    """The other one's first word as the new secondary comes before this one is ready to hear it."""
    pair = make_pair(guest=LOAD, peer_timeout_ms=20000).start()
    source = pair.a
    for _ in range(2):
        with held_up_after_the_handover(pair.other(source), "colod-apply", source):
            switch(pair, source, source)
        source = pair.other(source)
        source.verify()

# SPDX-License-Identifier: GPL-2.0-or-later
"""colod dies or is replaced while its QEMU runs: started again, it goes on with the same guest."""

import contextlib
import time

import pytest

from netblows import REPEATED, kill_host, take_over
from netclient import Loads
from netloads import ANY, LIGHT, QUIET, STREAMS
from pair import CtlError, Guest
from processes import alive, kill
from servicemanager import ServiceManager
from waiting import wait_for
from witness import Witness

# The other host waits for longer than a restart takes.
PATIENT = {"recover_timeout_ms": 60000}
CONFIG = {"period_ms": 0, **PATIENT}
UNARBITRATED = {"arbiter": "none", "arbiter_command": []}
LOAD = Guest(append="dirty=32,5 rate=1000")


def at_a_random_moment(rng, longest=0.2):
    # The one deliberate wait: what colod is about when the blow falls is left to chance.
    time.sleep(rng.uniform(0, longest))


def kill_colods(pair, *nodes):
    """kill -9 at the same moment; the QEMUs run on."""
    pids = [node.qemu_pid() for node in nodes]
    for node in nodes:
        node.kill_colod()
    assert all(alive(pid) for pid in pids)
    return pids


def start_again(pair, *nodes):
    for node in nodes:
        node.start_again("primary" if node is pair.a else "secondary")


def wait_found(node, pid):
    node.wait_status("the guest", lambda s: "qemu" in s)
    assert node.qemu_pid() == pid


def kill_and_start(pair, *nodes):
    pids = kill_colods(pair, *nodes)
    start_again(pair, *nodes)
    for node, pid in zip(nodes, pids):
        wait_found(node, pid)


def upgrade(pair, *nodes):
    for node in nodes:
        pid, proc, before = node.qemu_pid(), node.proc.pid, node.log().count("found pid=")
        node.ctl("upgrade")
        wait_for("the new colod", lambda n=node, b=before: n.log().count("found pid=") > b)
        wait_found(node, pid)
        assert node.proc.pid == proc and node.proc.poll() is None


def assert_ticks_on(node):
    """The guest has not been reset, and its memory is what it wrote."""
    seen = node.console.last_tick()
    wait_for("the guest to tick on", lambda: node.console.last_tick() >= seen + 3)
    node.console.assert_sound()
    ticks = node.console.ticks()
    assert all(y == x + 1 for x, y in zip(ticks, ticks[1:])), ticks


def assert_goes_on(pair, live=None):
    live = live or pair.a
    pair.wait_protected()
    assert_ticks_on(live)
    live.verify()


# ---- killed

@pytest.mark.core
def test_a_guest_outlives_the_colods_of_both_hosts(make_pair, rng):
    pair = make_pair(guest=LOAD, **CONFIG).start()
    for nodes in [(pair.a,), (pair.b,), (pair.a, pair.b)]:
        at_a_random_moment(rng)
        kill_and_start(pair, *nodes)
        assert_goes_on(pair)


def test_a_guest_outlives_its_colods_again_and_again(make_pair, rng, scale):
    """Also those that have not yet come to anything."""
    pair = make_pair(guest=LOAD, **CONFIG).start()
    for _ in range(scale(20, 3)):
        nodes = rng.choice([(pair.a,), (pair.b,), (pair.a, pair.b)])
        for _ in range(rng.randrange(1, 4)):
            at_a_random_moment(rng)
            kill_colods(pair, *nodes)
            start_again(pair, *nodes)
        assert_goes_on(pair)


def test_a_first_copy_begins_anew(make_pair, rng):
    pair = make_pair(guest=LOAD, bandwidth="20M", **CONFIG)
    pair.a.start("primary")
    pair.wait_booted(pair.a)
    pair.b.start("secondary")
    for node in (pair.a, pair.b):
        pair.a.wait_state("active")
        at_a_random_moment(rng)
        kill_and_start(pair, node)
    pair.a.ctl("set", "bandwidth", "0")
    assert_goes_on(pair)


@pytest.mark.parametrize("arbiter", [UNARBITRATED, {}], ids=["none", "exec"])
def test_a_guest_that_is_alone_goes_on_alone(make_pair, arbiter):
    pair = make_pair(guest=LOAD, **arbiter)
    pair.a.start("primary")
    pair.wait_booted(pair.a)
    kill_and_start(pair, pair.a)
    pair.a.wait_state("solo")
    assert_ticks_on(pair.a)
    pair.b.start("secondary")
    assert_goes_on(pair)


def test_a_guest_that_was_taken_over_goes_on_at_its_new_host(make_pair):
    pair = make_pair(guest=LOAD, period_ms=0).start()
    pair.a.kill_all()
    pair.b.wait_state("solo")
    since = pair.b.console.size()
    kill_and_start(pair, pair.b)
    pair.b.wait_state("solo")
    assert pair.b.status()["role"] == "primary"
    pair.b.console.wait_ticks(3, since)
    pair.b.console.audit()


def test_a_guest_that_lives_elsewhere_by_now_is_given_up(make_pair):
    """The other host did not wait: two guests must not be heard, and the younger one counts."""
    pair = make_pair(guest=LOAD, period_ms=0).start()
    kill_colods(pair, pair.a)
    pair.b.wait_state("solo")
    start_again(pair, pair.a)
    pair.wait_protected()
    assert [n.status()["role"] for n in (pair.a, pair.b)] == ["secondary", "primary"]
    pair.b.verify()


# ---- with an arbiter that knows who has the guest

def witnessed(pair):
    """Started under etcd, with a checkpoint that both hosts may go on from."""
    witness = Witness(pair)
    pair.start()
    wait_shared(witness)
    return contextlib.closing(witness)


def wait_shared(witness):
    wait_for("a session that both share",
             lambda: (witness.owner()[0] or "").startswith("shared"))


def test_hosts_that_share_a_guest_share_it_again(make_pair):
    pair = make_pair(guest=LOAD, **PATIENT)
    with witnessed(pair) as witness:
        for nodes in [(pair.a,), (pair.b,), (pair.a, pair.b)]:
            kill_and_start(pair, *nodes)
            assert_goes_on(pair)
            wait_shared(witness)


def test_a_host_that_has_the_guest_has_it_again(make_pair):
    pair = make_pair(guest=LOAD)
    with witnessed(pair) as witness:
        pair.b.kill_all()
        pair.a.wait_state("solo")
        kill_and_start(pair, pair.a)
        pair.a.wait_state("solo")
        assert witness.owner() == ("host a", "a")
        assert_ticks_on(pair.a)


# ---- replaced

def test_a_colod_is_replaced_without_the_guest_noticing(make_pair):
    pair = make_pair(guest=LOAD, **CONFIG).start()
    for node in (pair.a, pair.b):
        upgrade(pair, node)
        assert_goes_on(pair)
    # It is the same as before in an orderly end, too.
    pair.a.terminate()
    assert pair.a.wait_exit() == 0
    assert pair.a.qemu_pid() is None
    assert pair.b.wait_state("solo")["role"] == "primary"


# ---- the guest's network

@pytest.mark.parametrize("mode", ["colo", "periodic"])
def test_clients_keep_their_connections(make_pair, rng, mode):
    pair = make_pair(guest=QUIET, nics=1, mode=mode, **PATIENT).start()
    with Loads(pair.client, pair.folder, LIGHT) as loads:
        for blow, *nodes in [(kill_and_start, pair.a), (kill_and_start, pair.b),
                             (kill_and_start, pair.a, pair.b), (upgrade, pair.a)]:
            loads.wait_progress(10)
            at_a_random_moment(rng)
            blow(pair, *nodes)
            pair.wait_protected()
        loads.wait_progress(10)
        loads.assert_intact(ANY, REPEATED)
    assert_goes_on(pair)


def test_a_guest_that_is_alone_is_heard_while_colod_is_away(make_pair):
    pair = make_pair(guest=QUIET, nics=1, **UNARBITRATED)
    pair.a.start("primary")
    pair.wait_booted(pair.a)
    with Loads(pair.client, pair.folder, LIGHT) as loads:
        loads.wait_progress(10)
        kill_colods(pair, pair.a)
        loads.wait_progress(10)
        start_again(pair, pair.a)
        pair.a.wait_state("solo")
        loads.wait_progress(10)
        loads.assert_intact(0, 0)


def test_connections_that_are_rewritten_since_a_take_over_go_on(make_pair):
    """They began in the epoch in which the host died: their clients know other numbers."""
    pair = make_pair(guest=QUIET, nics=1, mode="colo", colo_period_ms=60000,
                     compare_timeout_ms=10000).start()
    with Loads(pair.client, pair.folder, STREAMS) as loads:
        loads.wait_progress(10)
        kill_host(pair, pair.a)
        take_over(pair, pair.a)
        loads.wait_progress(10)
        assert pair.b.status()["proxy"]["rewritten_flows"] > 0
        kill_and_start(pair, pair.b)
        assert pair.b.wait_state("solo")["proxy"]["rewritten_flows"] > 0
        loads.wait_progress(10)
        loads.assert_intact()
    pair.b.console.audit()


def serve(pair, node):
    """With a QEMU that is found and about to end colod may end, too; then it is started once more."""
    while True:
        node.start("primary")
        try:
            pair.wait_booted(node)
            return
        except AssertionError:
            if "QEMU ended before it was ready" not in node.log().strip().split("\n")[-1]:
                raise


def test_what_the_service_manager_keeps_is_used_again(make_pair, scale):
    pair = make_pair(guest=QUIET, nics=1, **UNARBITRATED)
    node = pair.a
    node.manager = ServiceManager(pair.folder)
    try:
        node.start("primary")
        pair.wait_booted(node)
        for n in range(1, 3):
            wait_for("the service to be ready", lambda n=n: node.manager.started() == n)
            assert sorted(node.manager.store) == ["colod-ram", "colod-tap0", "colod-uffd"]
            kill_and_start(pair, node)
            assert node.log().count("descriptors=systemd") == n
            assert_ticks_on(node)
        # A tap that is kept open could not be made again.
        node.terminate()
        assert node.wait_exit() == 0
        wait_for("the descriptors to go", lambda: not node.manager.store)
        node.start("primary")
        pair.wait_booted(node)
        wait_for("the descriptors", lambda: len(node.manager.store) == 3)
        # Nor may it be when QEMU is found, but about to end: giving its memory back takes a while.
        for _ in range(scale(10, 2)):
            node.kill_all()
            serve(pair, node)
            wait_for("the descriptors", lambda: len(node.manager.store) == 3)
    finally:
        node.manager.close()


# ---- not the same any more

def assert_refused(node, *words):
    """It ends at once, says why, and leaves QEMU alone."""
    assert node.wait_exit() == 1
    last = node.log().strip().split("\n")[-1]
    assert all(word in last for word in words), last


def test_a_guest_that_cannot_be_taken_over_is_left_alone(make_pair):
    pair = make_pair(guest=LOAD, **UNARBITRATED)
    node = pair.a
    node.start("primary")
    pair.wait_booted(node)
    [pid] = kill_colods(pair, node)
    state = node.run_dir / "vm.state"
    text = state.read_text()

    node.config["memory"] = "256M"
    start_again(pair, node)
    assert_refused(node, "memory", f"process {pid}", "left alone")
    node.config["memory"] = "128M"

    state.write_text(text.replace("standing = alone", "standing = odd"))
    start_again(pair, node)
    assert_refused(node, str(state), "standing")

    state.unlink()
    start_again(pair, node)
    assert_refused(node, "already runs", str(pid))

    assert alive(pid)
    state.write_text(text)
    start_again(pair, node)
    wait_found(node, pid)
    assert_ticks_on(node)


def test_a_guest_that_may_live_elsewhere_is_not_started_twice(make_pair):
    pair = make_pair(guest=LOAD, **CONFIG, **UNARBITRATED).start()
    [pid] = kill_colods(pair, pair.a)
    kill(pid)
    wait_for("QEMU's end", lambda: not alive(pid))
    start_again(pair, pair.a)
    assert_refused(pair.a, "may run on the other host", "--secondary")
    pair.a.start("secondary")
    pair.a.wait_state("setup")


def test_a_guest_that_shut_down_meanwhile_has_ended(make_pair):
    # No checkpoint is under way when colod dies: a guest that stands still for one reads nothing.
    pair = make_pair(guest=LOAD, mode="on-demand", **PATIENT).start()
    kill_colods(pair, pair.a)
    pair.a.console.send("poweroff")
    wait_for("the guest's end", lambda: "Power down" in pair.a.console.text()
             or "reboot: " in pair.a.console.text())
    start_again(pair, pair.a)
    assert pair.a.wait_exit() == 0


def test_a_qemu_that_never_ran_its_guest_is_replaced(make_pair):
    pair = make_pair(guest=LOAD, memory="1G", **UNARBITRATED)
    node = pair.a
    node.start("primary")
    wait_for("QEMU", lambda: (node.run_dir / "vm.state").exists())
    pid = node.qemu_pid()
    node.kill_colod()
    was_starting = "standing = starting" in (node.run_dir / "vm.state").read_text()
    node.start_again("primary")
    pair.wait_booted(node)
    assert (node.qemu_pid() != pid) == was_starting

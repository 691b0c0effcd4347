# SPDX-License-Identifier: GPL-2.0-or-later
"""Orderly ends: SIGTERM and colo-ctl stop."""

from processes import alive


def test_sigterm_on_a_protected_primary_hands_the_guest_over(make_pair):
    pair = make_pair().start()
    pid = pair.a.qemu_pid()
    pair.a.terminate()
    assert pair.a.wait_exit() == 0
    assert not alive(pid)
    pair.b.wait_state("solo")
    ticks = pair.b.console.wait_ticks(10, since=0)
    # Nothing is lost: a planned move takes a last checkpoint.
    last = pair.a.console.last_tick()
    assert last < ticks[0] <= last + 2
    pair.b.console.audit()


def test_sigterm_on_a_secondary_leaves_the_primary_solo(make_pair):
    pair = make_pair().start()
    pid = pair.b.qemu_pid()
    pair.b.terminate()
    assert pair.b.wait_exit() == 0
    assert not alive(pid)
    pair.a.wait_state("solo")
    assert pair.a.console.wait_ticks(10, since=0)[0] == 1
    assert not pair.b.console.ticks()


def test_sigterm_on_a_solo_primary_ends_its_guest(make_pair):
    pair = make_pair()
    pair.a.start("primary")
    pair.wait_booted(pair.a)
    pid = pair.a.qemu_pid()
    pair.a.terminate()
    assert pair.a.wait_exit() == 0
    assert not alive(pid)


def test_stop_on_the_primary_ends_both_hosts(make_pair):
    pair = make_pair().start()
    pids = [pair.a.qemu_pid(), pair.b.qemu_pid()]
    pair.a.ctl("stop")
    assert pair.a.wait_exit() == 0
    assert pair.b.wait_exit() == 0
    assert not any(map(alive, pids))
    assert not pair.b.console.ticks()


def test_stop_on_the_secondary_ends_both_hosts(make_pair):
    pair = make_pair().start()
    pids = [pair.a.qemu_pid(), pair.b.qemu_pid()]
    pair.b.ctl("stop")
    assert pair.b.wait_exit() == 0
    assert pair.a.wait_exit() == 0
    assert not any(map(alive, pids))


def test_nothing_is_left_in_the_runtime_folder(make_pair):
    pair = make_pair().start()
    pair.a.ctl("stop")
    for node in (pair.a, pair.b):
        assert node.wait_exit() == 0
        assert [path.name for path in node.run_dir.iterdir()] == []

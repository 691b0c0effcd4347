# SPDX-License-Identifier: GPL-2.0-or-later
"""The control socket and colo-ctl: bad requests are answered, never obeyed, never fatal."""

import json
import os
import socket
import subprocess

import pytest

from pair import COLO_CTL, CtlError
from waiting import TIMEOUT_S, wait_for

LINE_LIMIT = 64 * 1024


@pytest.fixture
def solo(make_pair):
    """A primary without a peer."""
    pair = make_pair()
    pair.a.start("primary")
    pair.a.wait_state("setup")
    return pair.a


def connect(node):
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(TIMEOUT_S)
    s.connect(str(node.socket_path))
    return s


def ask(node, line):
    with connect(node) as s:
        s.sendall(line + b"\n")
        return json.loads(s.makefile("rb").readline())


BAD_REQUESTS = [
    b"garbage", b"{", b"[]", b"null", b"42", b'"status"', b"{}", b'{"cmd":null}', b'{"cmd":7}',
    b'{"cmd":"no-such-command"}', b'{"cmd":"mode"}', b'{"cmd":"mode","mode":"sometimes"}',
    b'{"cmd":"mode","mode":[]}', b'{"cmd":"set"}', b'{"cmd":"set","key":"period_ms"}',
    b'{"cmd":"set","key":"memory","value":"1G"}', b'{"cmd":"set","key":"period_ms","value":"-1"}',
    b'{"cmd":"set","key":"nothing","value":"1"}', b'{"cmd":"failover","force":"maybe"}',
    b'{"cmd":"checkpoint"}', b'{"cmd":"verify"}', b'{"cmd":"failover"}', b"\xff\xfe\x00",
    b"[" * 1000,
]


def test_bad_requests_are_answered_with_a_reason(solo):
    for request in BAD_REQUESTS:
        answer = ask(solo, request)
        assert answer["ok"] is False and answer["error"], request
    assert solo.status()["state"] == "setup"


def test_pipelined_requests_are_answered_in_order(solo):
    with connect(solo) as s:
        s.sendall(b'{"cmd":"status"}\n{"cmd":"nonsense"}\n{"cmd":"status"}\n')
        answers = s.makefile("rb")
        assert [json.loads(answers.readline())["ok"] for _ in range(3)] == [True, False, True]


def own_memory_kib(node):
    """What the daemon itself has allocated: guest RAM is a shared file and does not count."""
    for line in open(f"/proc/{node.proc.pid}/status"):
        if line.startswith("RssAnon:"):
            return int(line.split()[1])
    raise AssertionError("no RssAnon")


def test_an_endless_line_does_not_grow_the_daemon(solo):
    solo.status()
    before = own_memory_kib(solo)
    with connect(solo) as s:
        for _ in range(1000):
            s.sendall(b"x" * LINE_LIMIT)
        s.sendall(b"\n")
        assert "longer than" in json.loads(s.makefile("rb").readline())["error"]
    assert solo.status()["ok"]
    assert own_memory_kib(solo) < before + 4096


def test_clients_that_never_read_do_not_hold_up_others(solo):
    deaf = [connect(solo) for _ in range(8)]
    for s in deaf:
        s.setblocking(False)
        try:
            for _ in range(2000):
                s.send(b'{"cmd":"status"}\n')
        except OSError:
            pass
    assert solo.status()["ok"]
    for s in deaf:
        s.close()
    assert solo.status()["ok"]


def test_many_clients_come_and_go(solo):
    for _ in range(5):
        crowd = []
        for _ in range(60):
            s = socket.socket(socket.AF_UNIX)
            s.setblocking(False)
            try:
                s.connect(str(solo.socket_path))
            except OSError:
                pass
            crowd.append(s)
        for s in crowd:
            s.close()
    wait_for("an answer", lambda: (solo.status_or_none() or {}).get("ok"))


def test_settings_change_at_run_time_within_their_bounds(solo):
    for key, value in (("period_ms", "250"), ("bandwidth", "10M"), ("peer_timeout_ms", "3000"),
                       ("log_level", "info"), ("mode", "on-demand")):
        assert solo.ctl("set", key, value)["ok"]
    status = solo.status()
    assert (status["period_ms"], status["mode"]) == (250, "on-demand")
    for key, value in (("period_ms", "60001"), ("period_ms", ""), ("peer_timeout_ms", "1"),
                       ("memory", "1G"), ("listen", "x:1"), ("no_such_key", "1"), ("mode", "colo")):
        with pytest.raises(CtlError) as refused:
            solo.ctl("set", key, value)
        assert refused.value.code == 1
        assert key in refused.value.text
    assert solo.status()["period_ms"] == 250


def test_the_socket_is_closed_to_other_users(solo):
    assert os.stat(solo.socket_path).st_mode & 0o007 == 0


def test_colo_ctl_without_a_daemon_says_so(tmp_path):
    done = subprocess.run([COLO_CTL, "--socket", tmp_path / "none.sock", "status"],
                          capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert "none.sock" in done.stderr


def test_colo_ctl_with_wrong_usage_exits_2():
    for words in ([], ["dance"], ["mode"], ["set", "period_ms"], ["--no-such-option"]):
        done = subprocess.run([COLO_CTL, *words], capture_output=True, text=True, check=False)
        assert done.returncode == 2, words


def test_a_human_can_read_status_and_watch(make_pair):
    pair = make_pair().start()

    def words(*command):
        done = subprocess.run([COLO_CTL, "--socket", pair.a.socket_path, *command],
                              capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    text = words("status")
    assert "primary" in text and "colo" in text
    lines = words("watch", "--interval", "50", "--count", "3").splitlines()
    assert len(lines) >= 3
    assert "0 differing pages" in words("verify")


def test_the_secondary_refuses_what_only_a_primary_can_do(make_pair):
    pair = make_pair().start()
    for command in ("checkpoint", "verify"):
        try:
            answer = pair.b.ctl(command)
        except CtlError as refused:
            assert refused.code == 1 and "primary" in refused.text
        else:
            # Passing it on to the primary is as good.
            assert answer["ok"]
    assert pair.b.status()["role"] == "secondary"

# SPDX-License-Identifier: GPL-2.0-or-later
"""Peers that talk garbage, nothing, or too much: the guest runs on and the real peer is served."""

import contextlib
import random
import struct
import subprocess
import sys
import zlib

import pytest

from pair import PORT
from tlsfiles import use_psk
from waiting import TIMEOUT_S

# Runs inside a namespace: connects, sends the bytes argv[3] argv[4] times, waits argv[5] seconds at
# most for the daemon to hang up.
CLIENT = """
import socket, sys, zlib
s = socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=60)
s.settimeout(float(sys.argv[5]))
print("connected", flush=True)
try:
    s.sendall(zlib.decompress(bytes.fromhex(sys.argv[3])) * int(sys.argv[4]))
    while s.recv(65536):
        pass
except OSError:
    pass
"""

# Runs inside a namespace: accepts everything, says the bytes argv[3], holds all connections open.
SERVER = """
import socket, sys, threading, zlib
s = socket.create_server((sys.argv[1], int(sys.argv[2])), backlog=16)
print("up", flush=True)
held = []
def serve(c):
    try:
        c.sendall(zlib.decompress(bytes.fromhex(sys.argv[3])) * int(sys.argv[4]))
        while len(sys.argv) > 5 and c.recv(65536):
            pass
    except OSError:
        pass
while True:
    c, _ = s.accept()
    print("accepted", flush=True)
    held.append(c)
    threading.Thread(target=serve, args=(c,), daemon=True).start()
"""


# Runs inside a namespace: argv[3] callers that greet a byte at a time, first the bytes argv[4], and call
# again when sent away.
DRIBBLER = """
import resource, socket, sys, time
greeting = bytes.fromhex(sys.argv[4])
count = int(sys.argv[3])
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
callers = [None] * count
calls = 0
def call():
    global calls
    calls += 1
    s = socket.socket()
    s.setblocking(False)
    s.connect_ex((sys.argv[1], int(sys.argv[2])))
    return [s, 0]
def dribble(c):
    try:
        c[0].send(greeting[c[1]:][:1] or bytes(1))
        c[1] += 1
        return bool(c[0].recv(4096))
    except (BlockingIOError, InterruptedError):
        return True
    except OSError:
        return False
while True:
    for i, c in enumerate(callers):
        if c is None or not dribble(c):
            if c:
                c[0].close()
            callers[i] = call()
    if calls >= 2 * count:
        print("up", flush=True)
        calls = -1 << 60
    time.sleep(0.2)
"""


def header(kind, length, magic=0x434F4C4F, version=1):
    return struct.pack(">IHHI", magic, version, kind, length)


HELLO = 1
WELCOME = 2
GARBAGE = {
    "nothing": b"",
    "random": random.Random(1).randbytes(4096),
    "text": b"GET / HTTP/1.1\r\n\r\n",
    "half a header": header(HELLO, 100)[:7],
    "half a message": header(HELLO, 100) + b"x" * 10,
    "magic, then garbage": header(HELLO, 200) + random.Random(2).randbytes(200),
    "empty hello": header(HELLO, 0),
    "welcome unasked": header(WELCOME, 0),
    "huge length": header(HELLO, 0xFFFFFFFF) + b"x" * 65536,
    "unknown type": header(0xFFFF, 4) + b"abcd",
    "another version": header(HELLO, 4, version=999) + b"abcd",
    "pages before hello": header(19, 1000) + bytes(1000),
}


def packed(data):
    """As one word of a command line, which is limited to 128 KB."""
    return zlib.compress(data).hex()


def client(address, data, repeat=1, patience=1):
    """The command that says the bytes to the daemon at an address, as one of its callers."""
    return [sys.executable, "-c", CLIENT, address, str(PORT), packed(data), str(repeat),
            str(patience)]


def attack(attacker, address, data, repeat=1):
    done = attacker.run(client(address, data, repeat), timeout=TIMEOUT_S)
    assert done.returncode == 0, done.stderr


@contextlib.contextmanager
def impostor(host, address, data, repeat=1, *flags):
    """A process that accepts the daemon's connections in the peer's place."""
    proc = host.popen([sys.executable, "-u", "-c", SERVER, address, str(PORT), packed(data),
                       str(repeat), *flags], stdout=subprocess.PIPE, text=True)
    try:
        assert proc.stdout.readline() == "up\n"
        yield proc
    finally:
        proc.kill()
        proc.wait()
        proc.stdout.close()


@pytest.mark.parametrize("first", ["primary", "secondary"])
def test_garbage_on_the_listening_port_does_not_keep_the_peer_out(make_pair, first):
    pair = make_pair()
    node, other = (pair.a, pair.b) if first == "primary" else (pair.b, pair.a)
    node.start(first)
    node.wait_state("setup")
    for data in GARBAGE.values():
        attack(other.host, node.host.v4, data)
    other.start("secondary" if first == "primary" else "primary")
    pair.wait_protected()
    pair.wait_booted(pair.a)
    pair.a.verify()


def test_garbage_does_not_disturb_an_established_session(make_pair):
    pair = make_pair().start()
    for target, attacker in ((pair.a, pair.b), (pair.b, pair.a)):
        for data in GARBAGE.values():
            attack(attacker.host, target.host.v4, data)
    pair.a.verify()
    for node in (pair.a, pair.b):
        assert node.status()["state"] == "colo"
        assert "to=solo" not in node.log() and "to=failover" not in node.log()
    pair.a.console.wait_ticks(5)
    pair.a.console.assert_sound()


def test_many_idle_connections_do_not_keep_the_peer_out(make_pair):
    pair = make_pair()
    pair.a.start("primary")
    pair.wait_booted(pair.a)
    with contextlib.ExitStack() as stack:
        for _ in range(20):
            idle = stack.enter_context(pair.b.host.popen(
                client(pair.a.host.v4, b"", patience=600), stdout=subprocess.PIPE, text=True))
            stack.callback(idle.kill)
            assert idle.stdout.readline() == "connected\n"
        pair.b.start("secondary")
        pair.wait_protected()


@contextlib.contextmanager
def dribblers(attacker, address, count, greeting):
    """So many callers, and each of them has been sent away at least once."""
    proc = attacker.popen([sys.executable, "-c", DRIBBLER, address, str(PORT), str(count),
                           greeting.hex()], stdout=subprocess.PIPE, text=True)
    try:
        assert proc.stdout.readline() == "up\n"
        yield proc
        assert proc.poll() is None
    finally:
        proc.kill()
        proc.wait()
        proc.stdout.close()


# The beginning of a message, and of a TLS record with a ClientHello, that is worth waiting for.
DRIBBLED = {"none": header(HELLO, 1000), "psk": bytes.fromhex("16030101f4010001f00303")}


@pytest.mark.parametrize("tls", DRIBBLED)
def test_a_thousand_callers_that_dribble_bytes_disturb_neither_the_peer_nor_the_link(make_pair, tls):
    pair = make_pair(peer_timeout_ms=20000)
    if tls == "psk":
        use_psk(pair.a, pair.b)
    pair.b.start("secondary")
    pair.b.wait_state("setup")
    with dribblers(pair.a.host, pair.b.host.v4, 1000, DRIBBLED[tls]):
        pair.a.start("primary")
        pair.wait_protected()
        pair.wait_booted(pair.a)
        with dribblers(pair.b.host, pair.a.host.v4, 1000, DRIBBLED[tls]):
            pair.a.console.wait_ticks(10)
            pair.a.verify()
        for node in (pair.a, pair.b):
            assert node.status()["state"] == "colo"
            assert "to=solo" not in node.log() and "to=paused" not in node.log()
    pair.a.console.assert_sound()


@pytest.mark.parametrize("kind", ["nothing", "random", "magic, then garbage", "huge length"])
@pytest.mark.parametrize("role", ["primary", "secondary"])
def test_an_impostor_in_the_peers_place_is_got_rid_of(make_pair, kind, role):
    pair = make_pair(peer_timeout_ms=500)
    node, other = (pair.a, pair.b) if role == "primary" else (pair.b, pair.a)
    with impostor(other.host, other.host.v4, GARBAGE[kind]):
        node.start(role)
        node.wait_state("setup")
        if role == "primary":
            pair.wait_booted(node)
            node.console.wait_ticks(10)
            node.console.assert_sound()
        assert node.status()["state"] == "setup"
    other.start("secondary" if role == "primary" else "primary")
    pair.wait_protected()
    pair.a.verify()


def test_a_flood_is_cut_off(make_pair):
    """Endless data in place of a hello must not fill the daemon's memory or time."""
    pair = make_pair()
    pair.a.start("primary")
    pair.wait_booted(pair.a)
    attack(pair.b.host, pair.a.host.v4, header(HELLO, 64) + bytes(64), 200000)
    pair.a.console.wait_ticks(5)
    pair.b.start("secondary")
    pair.wait_protected()

# SPDX-License-Identifier: GPL-2.0-or-later
"""Clients that mean ill, and what a process takes of the host's memory meanwhile."""

import itertools
import pathlib
import random
import re
import socket
import struct
import threading
import time

from netscope import run_in

BATCH = 64
SYN = 2


def own_memory(pid):
    """Bytes that only this process has: guest memory, which is mapped, does not count."""
    text = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"^RssAnon:\s+(\d+) kB", text, re.M)[1]) * 1024


def _send(sock, data, to):
    try:
        sock.sendto(data, to)
        return 1
    except OSError:
        return 0  # the sender's own queue is full: that is a flood's nature


def _for_seconds(secs, send_some):
    end, sent = time.monotonic() + secs, 0
    while time.monotonic() < end:
        sent += send_some()
    return sent


def flood_datagrams(client, address, secs, flows=64):
    """Small datagrams to the echo, as fast as they leave; how many."""
    socks = run_in(client, lambda: [socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                                    for _ in range(flows)])
    turns = itertools.cycle(socks)

    def some():
        sock = next(turns)
        return sum(_send(sock, b"flood of small datagrams", (address, 7)) for _ in range(BATCH))

    try:
        for sock in socks:
            sock.setblocking(False)
        return _for_seconds(secs, some)
    finally:
        for sock in socks:
            sock.close()


def _checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def _syn(source, address, sport, dport, seq):
    head = struct.pack("!HHIIBBHHH", sport, dport, seq, 0, 5 << 4, SYN, 64240, 0, 0)
    pseudo = socket.inet_aton(source) + socket.inet_aton(address) + struct.pack("!HH", 6, len(head))
    return head[:16] + struct.pack("!H", _checksum(pseudo + head)) + head[18:]


def flood_syns(client, address, secs, source="10.9.0.1", dport=7):
    """SYNs from ever other ports, none of which is followed by anything; how many."""
    sock = run_in(client, lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW,
                                                socket.IPPROTO_TCP))
    ports = itertools.cycle(range(1024, 10000))
    rng = random.Random(1)

    def some():
        return sum(_send(sock, _syn(source, address, next(ports), dport, rng.getrandbits(32)),
                         (address, 0)) for _ in range(BATCH))

    try:
        return _for_seconds(secs, some)
    finally:
        sock.close()


class AskStatus:
    """Asks a colod for its status all the time; a question that fails fails the test."""

    def __init__(self, node):
        self.node, self.answers, self.error = node, 0, None
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self):
        try:
            while not self._ends.wait(0.2):
                self.node.ctl("status")
                self.answers += 1
        except Exception as error:  # pylint: disable=broad-except
            self.error = error

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *exc):
        self._ends.set()
        self._thread.join()
        assert not self.error, f"status of {self.node.folder.name}: {self.error}"

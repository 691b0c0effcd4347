# SPDX-License-Identifier: GPL-2.0-or-later
"""Clients of real services in the guest: one operation at a time, every answer checked.

Each class is a context manager: what it opens belongs to one connection, or to none when each
operation makes its own. op() returns when the answer is there and right; else it raises Wrong or
OSError. All run in the network namespace of the thread that calls them.
"""

import itertools
import os
import re
import socket
import struct
import subprocess

from network import GuestNet
from pair import BUILD
from waiting import TIMEOUT_S

ADDRESS = GuestNet.v4(2)
SERVICES = BUILD / "guest" / "services"
_serial = itertools.count(1)


class Wrong(Exception):
    """An answer that is not the one that was due."""


def expect(got, due):
    if got != due:
        raise Wrong(f"{got!r} is not {due!r}")


def content(size):
    """What netd of tests/guest has put into files of that size."""
    return subprocess.run([BUILD / "guest" / "netd", "content", str(size)], check=True,
                          capture_output=True).stdout


class Stream:
    """A TCP connection to the guest that is read by lines and by counts."""

    def __init__(self, port):
        self.sock = socket.create_connection((ADDRESS, port), TIMEOUT_S)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = self.sock.makefile("rb")

    def send(self, data):
        self.sock.sendall(data)

    def line(self):
        line = self.file.readline()
        if not line.endswith(b"\n"):
            raise Wrong(f"the connection ended after {line!r}")
        return line

    def exactly(self, count):
        data = self.file.read(count)
        if len(data) != count:
            raise Wrong(f"the connection ended {count - len(data)} bytes early")
        return data

    def rest(self):
        return self.file.read()

    def close(self):
        self.file.close()
        self.sock.close()


class Client:
    """What the clients have in common: nothing to open, nothing to close."""

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        pass


class HttpGet(Client):
    """busybox httpd, a connection for each GET of 1 KB."""

    def __init__(self):
        self.due = content(1024)

    def op(self):
        stream = Stream(80)
        try:
            stream.send(b"GET /1k HTTP/1.0\r\nHost: guest\r\n\r\n")
            head, _, body = stream.rest().partition(b"\r\n\r\n")
        finally:
            stream.close()
        if b" 200 OK" not in head:
            raise Wrong(repr(head))
        expect(body, self.due)


def ssh_argv(command):
    """dbclient out of the same package as the guest's dropbear, with its own libraries."""
    root = SERVICES / "root"
    return [root / "lib64" / "ld-linux-x86-64.so.2",
            "--library-path", root / "lib" / "x86_64-linux-gnu", SERVICES / "dbclient",
            "-y", "-y", "-T", "-i", SERVICES / "id", f"root@{ADDRESS}", command]


# The client writes nothing home: host keys are not looked at.
SSH_ENV = {**os.environ, "HOME": "/nonexistent"}


class SshLogin(Client):
    """dropbear: connect, exchange keys, log in, run a command, disconnect."""

    def __init__(self):
        self.due = content(1024)

    def op(self):
        done = subprocess.run(ssh_argv("busybox cat /www/1k"), stdin=subprocess.DEVNULL,
                              capture_output=True, timeout=TIMEOUT_S, env=SSH_ENV, check=False)
        if done.returncode:
            raise Wrong(done.stderr.decode(errors="replace"))
        expect(done.stdout, self.due)


class SshSession(Client):
    """dropbear: one login, and lines that a command there sends back."""

    def __enter__(self):
        # pylint: disable=consider-using-with
        self.proc = subprocess.Popen(ssh_argv("exec busybox cat"), stdin=subprocess.PIPE,
                                     stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=SSH_ENV)
        self.count = 0
        self.op()
        return self

    def op(self):
        self.count += 1
        line = b"line %d of the session\n" % self.count
        self.proc.stdin.write(line)
        self.proc.stdin.flush()
        got = self.proc.stdout.readline()
        if not got:
            raise Wrong("the session ended: " + self.proc.stderr.read().decode(errors="replace"))
        expect(got, line)

    def __exit__(self, *exc):
        self.proc.kill()
        self.proc.communicate()


class Redis(Client):
    """redis: SET, GET and INCR by turns on one connection, or a batch of them at a time."""

    def __init__(self, batch=1):
        self.batch = batch
        self.key = b"%d" % next(_serial)
        self.turn = self.number = 0

    def __enter__(self):
        self.stream = Stream(6379)
        return self

    def __exit__(self, *exc):
        self.stream.close()

    def _next(self):
        """The next command, and what is due for it."""
        self.turn += 1
        value = b"value %d of %s" % ((self.turn - 1) // 3, self.key)
        if self.turn % 3 == 1:
            return (b"SET", b"v" + self.key, value), b"+OK\r\n"
        if self.turn % 3 == 2:
            return (b"GET", b"v" + self.key), b"$%d\r\n%s\r\n" % (len(value), value)
        self.number += 1
        return (b"INCR", b"n" + self.key), b":%d\r\n" % self.number

    def op(self):
        commands = [self._next() for _ in range(self.batch)]
        self.stream.send(b"".join(
            b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words)
            for words, _ in commands))
        due = b"".join(answer for _, answer in commands)
        expect(self.stream.exactly(len(due)), due)


class RedisCounter(Client):
    """redis: INCR of a key that all clients share; no number comes twice, to none a smaller one."""

    taken = {}  # by server

    def __enter__(self):
        self.stream = Stream(6379)
        self.stream.send(b"INFO server\r\n")
        size = int(self.stream.line()[1:])
        server = re.search(rb"run_id:(\w+)", self.stream.exactly(size + 2))[1]
        self.numbers = self.taken.setdefault(server, set())
        self.last = 0
        return self

    def __exit__(self, *exc):
        self.stream.close()

    def op(self):
        self.stream.send(b"INCR shared\r\n")
        number = int(self.stream.line()[1:])
        if number <= self.last or number in self.numbers:
            raise Wrong(f"{number} after {self.last}, of {len(self.numbers)}")
        self.last = number
        self.numbers.add(number)


class Postgres(Client):
    """PostgreSQL's protocol 3.0 (its manual, "Message Formats"): simple queries.

    UPDATE and SELECT of a row by turns; the table is the connection's own.
    """

    def __init__(self):
        self.table = f"t{next(_serial)}"
        self.turn = 0

    def __enter__(self):
        self.connect()
        self.query(f"CREATE TABLE {self.table} (n int)")
        self.query(f"INSERT INTO {self.table} VALUES (0)")
        return self

    def __exit__(self, *exc):
        self.stream.close()

    def connect(self):
        self.stream = Stream(5432)
        words = b"user\0postgres\0database\0postgres\0\0"
        self.stream.send(struct.pack("!II", 8 + len(words), 196608) + words)
        self.answer()

    def answer(self):
        """The rows of an answer, up to ReadyForQuery."""
        rows = []
        while True:
            kind, length = struct.unpack("!cI", self.stream.exactly(5))
            body = self.stream.exactly(length - 4)
            if kind == b"E":
                raise Wrong(repr(body))
            if kind == b"D":
                rows.append(body[6:])
            if kind == b"Z":
                return rows

    def query(self, text):
        data = text.encode() + b"\0"
        self.stream.send(b"Q" + struct.pack("!I", 4 + len(data)) + data)
        return self.answer()

    def op(self):
        self.turn += 1
        if self.turn % 2:
            expect(self.query(f"UPDATE {self.table} SET n = n + 1"), [])
        else:
            expect(self.query(f"SELECT n FROM {self.table}"), [b"%d" % (self.turn // 2)])


class PostgresConnect(Postgres):
    """PostgreSQL: connect, SELECT, disconnect."""

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        pass

    def op(self):
        self.connect()
        try:
            expect(self.query("SELECT 6 * 7"), [b"42"])
            self.stream.send(b"X" + struct.pack("!I", 4))
        finally:
            self.stream.close()

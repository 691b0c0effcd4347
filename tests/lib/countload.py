# SPDX-License-Identifier: GPL-2.0-or-later
"""Clients that ask one question after the other, each with a name of its own."""

import dataclasses
import selectors
import socket
import threading
import time

from netscope import run_in
from outputlog import MESSAGE_BYTES, NAME_BYTES, STAMP_BYTES
from waiting import TIMEOUT_S, wait_for

INTERVAL_S = 0.02
# A datagram that is not answered so long is lost; the next question has another name.
PATIENCE_S = 0.5


@dataclasses.dataclass
class Asker:
    """One socket; at most one question of it is open."""

    sock: socket.socket
    number: int
    datagrams: bool
    asked: int = 0
    answered: int = 0
    lost: int = 0
    pending: bytes = b""
    partial: bytes = b""
    due: float = 0

    def ask(self, now):
        name = f"{self.number:04d}-{self.asked:09d}"
        self.asked += 1
        self.pending = name.ljust(NAME_BYTES).encode()
        self.partial = b""
        self.due = now + PATIENCE_S
        self.sock.send(self.pending.ljust(MESSAGE_BYTES, b"."))

    def take(self, now):
        data = self.sock.recv(4096)
        if not data and not self.datagrams:
            raise ConnectionError("the guest has closed the connection")
        self.partial = data if self.datagrams else self.partial + data
        if len(self.partial) != MESSAGE_BYTES or not self.partial.startswith(self.pending):
            if self.datagrams:
                return  # the late answer to a question given up
            assert len(self.partial) < MESSAGE_BYTES, (self.pending, self.partial)
            return
        assert self.partial[NAME_BYTES:-STAMP_BYTES] == b"." * 16, self.partial
        self.answered += 1
        self.pending = b""
        self.due = now + INTERVAL_S

    def tick(self, now):
        if now < self.due:
            return
        if self.pending and not self.datagrams:
            return  # TCP sees to it
        self.lost += bool(self.pending)
        self.ask(now)


class CountLoad:
    """Askers in a namespace, for (proto, address, port); they run from with to its end."""

    def __init__(self, namespace, specs):
        self.namespace, self.specs = namespace, specs
        self.askers, self.errors = [], []
        self._ends = False

    def _connect(self, spec):
        proto, address, port = spec
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        kind = socket.SOCK_STREAM if proto == "tcp" else socket.SOCK_DGRAM
        sock = socket.socket(family, kind)
        sock.settimeout(TIMEOUT_S)
        sock.connect((address, port))
        if proto == "tcp":
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setblocking(False)
        return sock

    def _add(self, number, spec):
        sock = run_in(self.namespace, lambda: self._connect(spec))
        self.askers.append(Asker(sock, number, spec[0] == "udp"))

    def _step(self, selector):
        for key, _ in selector.select(0.005):
            try:
                key.data.take(time.monotonic())
            except BlockingIOError:
                pass
        for asker in self.askers:
            asker.tick(time.monotonic())

    def _run(self):
        with selectors.DefaultSelector() as selector:
            for asker in self.askers:
                selector.register(asker.sock, selectors.EVENT_READ, asker)
            try:
                while not self._ends:
                    self._step(selector)
            except (OSError, AssertionError) as error:
                self.errors.append(error)

    def __enter__(self):
        for number, spec in enumerate(self.specs):
            self._add(number, spec)
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        return self

    def __exit__(self, *exc):
        self._ends = True
        self._thread.join()
        for asker in self.askers:
            asker.sock.close()

    def answered(self):
        assert not self.errors, self.errors
        return [asker.answered for asker in self.askers]

    def asked(self):
        """Datagrams that were asked, of all clients together: TCP waits for its answers."""
        return sum(asker.asked for asker in self.askers if asker.datagrams)

    def wait_progress(self, answers=1, timeout=TIMEOUT_S):
        """Wait until each asker has had so many further answers."""
        enough = [count + answers for count in self.answered()]

        def late():
            return {spec: need - have for spec, have, need
                    in zip(self.specs, self.answered(), enough) if have < need}

        try:
            wait_for("answers", lambda: not late(), timeout)
        except AssertionError as error:
            raise AssertionError(f"{error}; still to come: {late()}") from error

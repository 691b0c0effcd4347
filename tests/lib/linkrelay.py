# SPDX-License-Identifier: GPL-2.0-or-later
"""A cable with faults: a process between two colods that cuts, stalls, delays or damages what it carries.

    linkrelay.py PORT TARGET_HOST TARGET_PORT

listens on loopback; orders come line by line on its input, each is answered by a line of JSON:

    cut [CHANNEL]       every connection, or those of one channel, is reset on both ends
    stall               nothing is carried any more, and nobody is told
    go                  ends stall and delay
    delay MS            what comes waits for so long
    damage CHANNEL N    one bit is flipped in each of the next N pieces that the primary sends
    stats               bytes taken from the primary, by channel, and those of them that were lost

Channels are told by the greeting, so damage and cut by channel need a link without TLS.
"""

import collections
import json
import random
import selectors
import socket
import struct
import sys
import time

PIECE = 65536
CHANNELS = ["control", "bulk", "packets"]
GREETING_CHANNEL_AT = 12  # docs/protocol.md: behind the header


class Flow:
    """One direction of a connection: pieces that wait, each with the time at which it may leave."""

    def __init__(self, source, sink):
        self.source, self.sink = source, sink
        self.waiting = collections.deque()
        self.bytes = 0
        self.taken = 0


class Wire:
    """A connection of the primary's and the one to the secondary that belongs to it."""

    def __init__(self, caller, called):
        self.ends = (caller, called)
        self.there, self.back = Flow(caller, called), Flow(called, caller)
        self.channel = None

    def learn(self, data):
        if self.channel is None and len(data) > GREETING_CHANNEL_AT:
            number = data[GREETING_CHANNEL_AT]
            self.channel = CHANNELS[number] if number < len(CHANNELS) else "?"


class Relay:
    """All wires, and the faults of the day."""

    def __init__(self, port, target):
        self.target = target
        self.selector = selectors.DefaultSelector()
        self.listener = socket.create_server(("127.0.0.1", port))
        self.listener.setblocking(False)
        self.wires = []
        self.stalled, self.delay_s = False, 0.0
        self.damage = collections.Counter()
        self.taken, self.lost = collections.Counter(), collections.Counter()
        self.rng = random.Random(port)
        self.selector.register(self.listener, selectors.EVENT_READ, self.accept)
        self.selector.register(sys.stdin, selectors.EVENT_READ, self.order)

    # -- connections

    def accept(self, _mask):
        caller, _ = self.listener.accept()
        try:
            called = socket.create_connection(self.target, timeout=2)
        except OSError:
            caller.close()
            return
        wire = Wire(caller, called)
        for end, flow in ((caller, wire.there), (called, wire.back)):
            end.setblocking(False)
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.selector.register(end, selectors.EVENT_READ,
                                   lambda mask, w=wire, f=flow: self.take(w, f))
        self.wires.append(wire)

    def close(self, wire, reset=False):
        if wire not in self.wires:
            return
        self.wires.remove(wire)
        self.lost[wire.channel] += wire.there.bytes
        for end in wire.ends:
            self.selector.unregister(end)
            if reset:
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            end.close()

    # -- bytes

    def take(self, wire, flow):
        if self.stalled or flow.bytes > 4 * PIECE:
            return
        try:
            data = flow.source.recv(PIECE)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.close(wire)
            return
        if flow is wire.there:
            wire.learn(data)
            self.taken[wire.channel] += len(data)
            data = self.damaged(wire, data)
        flow.bytes += len(data)
        flow.waiting.append((time.monotonic() + self.delay_s, data))
        self.give(wire, flow)

    def damaged(self, wire, data):
        if not self.damage[wire.channel]:
            return data
        self.damage[wire.channel] -= 1
        spoilt = bytearray(data)
        spoilt[self.rng.randrange(len(spoilt))] ^= 1 << self.rng.randrange(8)
        return bytes(spoilt)

    def give(self, wire, flow):
        now = time.monotonic()
        while not self.stalled and flow.waiting and flow.waiting[0][0] <= now:
            due, data = flow.waiting[0]
            try:
                n = flow.sink.send(data)
            except BlockingIOError:
                return
            except OSError:
                self.close(wire)
                return
            flow.bytes -= n
            if n == len(data):
                flow.waiting.popleft()
            else:
                flow.waiting[0] = (due, data[n:])

    # -- orders

    def order(self, _mask):
        line = sys.stdin.readline()
        if not line:
            sys.exit(0)
        word, *args = line.split()
        answer = {}
        if word == "cut":
            for wire in [w for w in self.wires if not args or w.channel == args[0]]:
                self.close(wire, reset=True)
        elif word == "stall":
            self.stalled = True
        elif word == "go":
            self.stalled, self.delay_s = False, 0.0
        elif word == "delay":
            self.delay_s = int(args[0]) / 1000
        elif word == "damage":
            self.damage[args[0]] = int(args[1])
        elif word == "stats":
            answer = {"taken": dict(self.taken), "lost": dict(self.lost)}
        print(json.dumps(answer, default=str), flush=True)

    def run(self):
        while True:
            busy = any(f.waiting for w in self.wires for f in (w.there, w.back))
            for key, mask in self.selector.select(0.002 if busy and not self.stalled else 0.05):
                key.data(mask)
            for wire in list(self.wires):
                for flow in (wire.there, wire.back):
                    self.give(wire, flow)


if __name__ == "__main__":
    Relay(int(sys.argv[1]), (sys.argv[2], int(sys.argv[3]))).run()

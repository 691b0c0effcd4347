# SPDX-License-Identifier: GPL-2.0-or-later
"""A record of all that leaves the guest's hosts, and what it must never contain.

It stands at the switch between the hosts and the client: what comes out of a host's cable has left
that host, whether anybody gets it or not.
"""

import dataclasses
import itertools
import socket
import struct
import threading

from network import GuestNet
from netscope import run_in
from waiting import wait_for

ETH_P_ALL = 3
SO_RCVBUFFORCE = 33
SOL_PACKET, PACKET_STATISTICS = 263, 6
PACKET_OUTGOING = 4
RCVBUF_BYTES = 64 << 20
GUEST_MAC = bytes.fromhex(GuestNet.mac(0).replace(":", ""))
# A frame that no bridge passes on: for the switch itself, of the type for local experiments.
SWITCH_MAC = bytes.fromhex(GuestNet.bridge_mac(0).replace(":", ""))
CLIENT_MAC = bytes.fromhex("02090000ff01")
MARK_TYPE = b"\x88\xb5"
TCP, UDP = 6, 17
PORT_DIFFERS, PORT_COUNTS = 8, 11
# See countload.py: a name, padding, and the guest's stamp.
MESSAGE_BYTES, NAME_BYTES, STAMP_BYTES = 48, 16, 16


@dataclasses.dataclass
class Packet:
    """One IP packet to or from the guest; port is the guest's."""

    origin: str
    from_guest: bool
    proto: int
    port: int
    payload: bytes


def _ip_part(frame):
    """The protocol, and the header and payload of what IP carries; None for all else."""
    at = 12
    while frame[at:at + 2] == b"\x81\x00":
        at += 4
    ethertype, at = frame[at:at + 2], at + 2
    if ethertype == b"\x08\x00":
        size, = struct.unpack_from("!H", frame, at + 2)
        return frame[at + 9], frame[at + (frame[at] & 15) * 4:at + size]
    if ethertype == b"\x86\xdd":
        size, = struct.unpack_from("!H", frame, at + 4)
        return frame[at + 6], frame[at + 40:at + 40 + size]
    return None


def parse(frame, origin):
    """The packet in a frame, None when it is none of the guest's.

    A routed guest's frames have its host's hardware address: the service's port tells.
    """
    from_guest = frame[6:12] == GUEST_MAC
    part = _ip_part(frame)
    if not part:
        return None
    proto, data = part
    if proto not in (TCP, UDP):
        return Packet(origin, from_guest, proto, 0, data) if from_guest else None
    if not from_guest and frame[:6] != GUEST_MAC:
        from_guest = origin != "client"
    ports = struct.unpack_from("!HH", data)
    header = (data[12] >> 4) * 4 if proto == TCP else 8
    return Packet(origin, from_guest, proto, ports[0 if from_guest else 1], data[header:])


def _send_to_switch(mark):
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sock:
        sock.bind(("eth0", 0))
        sock.send(SWITCH_MAC + CLIENT_MAC + MARK_TYPE + mark)


class OutputLog:
    """Records in a thread from with to the end of the block; origin is "a", "b" or "client"."""

    def __init__(self, network):
        self.switch, self.client = network.guest_net.switch, network.guest_net.client
        self.frames = []
        self.lost = 0
        self._ends = False
        self._ports = {}
        self._marks = itertools.count(1)

    def _open(self):
        # Of all interfaces: one queue keeps the order between them.
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RCVBUF_BYTES)
        sock.settimeout(0.2)
        for _, name in socket.if_nameindex():
            if name.startswith("to-"):
                self._ports[name] = name[3:]
        return sock

    def _read(self):
        while not self._ends:
            try:
                frame, (port, _, kind, _, _) = self._sock.recvfrom(65535)
            except TimeoutError:
                continue
            if kind != PACKET_OUTGOING and port in self._ports:
                self.frames.append((frame, self._ports[port]))

    def __enter__(self):
        self._sock = run_in(self.switch, self._open)
        self._thread = threading.Thread(target=self._read)
        self._thread.start()
        return self

    def __exit__(self, *exc):
        self._ends = True
        self._thread.join()
        self._sock.close()

    # -- what was seen

    def packets(self, since=0):
        """All so far from position since on, in their order; it fails if the log has holes."""
        _, lost = struct.unpack("II", self._sock.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8))
        self.lost += lost
        assert not self.lost, f"the log itself lost {self.lost} frames"
        found = [parse(*entry) for entry in self.frames[since:]]
        return [packet for packet in found if packet]

    def output(self, since=0):
        """What the guest sent of TCP and UDP."""
        return [packet for packet in self.packets(since)
                if packet.from_guest and packet.proto in (TCP, UDP)]

    def position(self):
        """Where the log is when it has all that has left the hosts until now.

        The reader may be late: what it has to read first shows a frame of the client's own.
        """
        since, mark = len(self.frames), b"mark %d" % next(self._marks)
        run_in(self.client, lambda: _send_to_switch(mark))

        def after_mark():
            return next((at for at, (frame, _) in enumerate(self.frames[since:], since + 1)
                         if frame.endswith(MARK_TYPE + mark)), None)

        return wait_for("the log to be read", after_mark)


class _Oracle:
    """Reads the log as the client's view of a guest that must never have forgotten anything."""

    def __init__(self):
        self.answer_to = {}  # (port, name of the question): the guest's stamp
        self.question_of = {}  # count: name of the question
        self.highest = 0  # of all counts that have left
        self.floor = {}  # question: what was the highest when it was asked first
        self.wrong = []

    def see_question(self, port, name):
        if port == PORT_COUNTS:
            self.floor.setdefault(name, self.highest)

    def see_answer(self, origin, port, name, stamp):
        known = self.answer_to.setdefault((port, name), stamp)
        if known != stamp:
            self.wrong.append(f"{name} on {port} was answered {known}, by {origin} {stamp}")
        if port == PORT_COUNTS:
            self._see_count(origin, name, int(stamp, 16))

    def _see_count(self, origin, name, count):
        other = self.question_of.setdefault(count, name)
        if other != name:
            self.wrong.append(f"count {count} was given to {other}, by {origin} to {name}")
        if name not in self.floor:
            self.wrong.append(f"{name} was answered by {origin} before it was asked")
        elif count <= self.floor[name]:
            self.wrong.append(f"{name} was asked when {self.floor[name]} had left, and answered "
                              f"{count} by {origin}")
        self.highest = max(self.highest, count)


def messages_in(payload):
    assert len(payload) % MESSAGE_BYTES == 0, f"torn message of {len(payload)} bytes: {payload}"
    for at in range(0, len(payload), MESSAGE_BYTES):
        message = payload[at:at + MESSAGE_BYTES].decode("ascii")
        yield message[:NAME_BYTES].strip(), message[-STAMP_BYTES:]


def assert_never_contradicted(log):
    """Whatever left any host, the guest stands by it for ever, whichever host it runs on.

    No question has two answers, no count is given to two questions, and a question that is asked
    after a count has left gets a higher one. Returns how many answers that was seen on.
    """
    oracle = _Oracle()
    log.position()
    for packet in log.packets():
        if packet.port not in (PORT_DIFFERS, PORT_COUNTS) or not packet.payload:
            continue
        for name, stamp in messages_in(packet.payload):
            if packet.from_guest:
                oracle.see_answer(packet.origin, packet.port, name, stamp)
            else:
                oracle.see_question(packet.port, name)
    assert not oracle.wrong, "\n".join(oracle.wrong[:10])
    return len(oracle.answer_to)

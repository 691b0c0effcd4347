# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest's serial console: what it has printed, and commands for it."""

import re
import socket

from waiting import wait_for

TICK = re.compile(r"^tick (\d+) ok$")
# The counters' own finding, and what a kernel says when its memory is not what it left there.
DAMAGE = re.compile(r"CORRUPT|Kernel panic|Oops|BUG:|general protection|segfault|bad page")


def ticks_in(text):
    """The numbers of all whole tick lines; a line that began on another host counts as none."""
    return [int(m[1]) for m in map(TICK.match, text.replace("\r", "").split("\n")[:-1]) if m]


def assert_consecutive(ticks):
    wrong = [(x, y) for x, y in zip(ticks, ticks[1:]) if y != x + 1]
    assert not wrong, f"ticks do not follow each other: {wrong[:5]}"


class Console:
    """The chardev of one QEMU: a log file with all output and a socket that takes input."""

    def __init__(self, folder):
        self.socket_path = folder / "con"
        self.log_path = folder / "serial"

    def qemu_args(self):
        return (f"-chardev socket,id=con,path={self.socket_path},server=on,wait=off,"
                f"logfile={self.log_path} -serial chardev:con")

    def set_aside(self):
        """Keep the log of an earlier QEMU, which a new one would overwrite."""
        if self.log_path.exists():
            n = 1
            while self.log_path.with_suffix(f".{n}").exists():
                n += 1
            self.log_path.rename(self.log_path.with_suffix(f".{n}"))

    def size(self):
        return self.log_path.stat().st_size if self.log_path.exists() else 0

    def text(self, since=0):
        if not self.log_path.exists():
            return ""
        with open(self.log_path, "rb") as log:
            log.seek(since)
            return log.read().decode("ascii", "replace")

    def ticks(self, since=0):
        return ticks_in(self.text(since))

    def last_tick(self):
        return (self.ticks() or [0])[-1]

    def send(self, command):
        """Type a command; returns when the guest's init has read it.

        QEMU drops input that it has not read when the connection closes, hence the wait.
        """
        since = self.size()
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(str(self.socket_path))
            s.sendall(command.encode() + b"\n")
            self.wait_text(f"# {command}", since)

    def wait_text(self, text, since=0, count=1):
        wait_for(f"{count} x {text!r} on {self.log_path}",
                 lambda: self.text(since).count(text) >= count)

    def wait_ticks(self, count, since=None):
        """Wait for that many further ticks; return them after a check that none is missing."""
        since = self.size() if since is None else since
        wait_for(f"{count} ticks on {self.log_path}", lambda: len(self.ticks(since)) >= count)
        self.assert_sound()
        ticks = self.ticks(since)
        assert_consecutive(ticks)
        return ticks

    def assert_sound(self):
        bad = [line for line in self.text().split("\n") if DAMAGE.search(line)]
        assert not bad, f"the guest found its state damaged: {bad[:5]}"

    def audit(self):
        """Have the guest verify all of its counters now."""
        since = self.size()
        self.send("counters")
        wait_for("the guest's audit", lambda: re.search(r"^counters .*\n", self.text(since), re.M))
        assert "counters ok" in self.text(since), self.text(since)

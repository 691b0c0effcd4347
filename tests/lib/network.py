# SPDX-License-Identifier: GPL-2.0-or-later
"""Two hosts on one machine: network namespaces joined by a veth pair."""

import itertools
import os
import pathlib
import re
import shutil
import subprocess
import tempfile

from processes import alive, kill

PREFIX = "colod-"
NAMESPACES = pathlib.Path("/run/netns")
TEMP = pathlib.Path(tempfile.gettempdir())
_serial = itertools.count(1)


def ip(*args):
    subprocess.run(["ip", *args], check=True, capture_output=True, text=True)


def processes_in(netns):
    """The processes whose network is the given namespace."""
    done = subprocess.run(["ip", "netns", "pids", netns], capture_output=True, text=True,
                          check=False)
    return [int(word) for word in done.stdout.split()]


def kill_all_in(netns):
    for pid in processes_in(netns):
        kill(pid)


def remove_namespace(netns):
    """End whatever still runs in it (a QEMU outlives its colod) and delete it."""
    kill_all_in(netns)
    subprocess.run(["ip", "netns", "del", netns], capture_output=True, check=False)


def sweep():
    """Remove what killed test runs left behind; all names contain the run's process."""
    for path in itertools.chain(NAMESPACES.glob(PREFIX + "*"), TEMP.glob(PREFIX + "*")):
        match = re.fullmatch(PREFIX + r"(\d+)-.*", path.name)
        if not match or alive(match[1]):
            continue
        if path.parent == NAMESPACES:
            remove_namespace(path.name)
        else:
            shutil.rmtree(path, ignore_errors=True)


def make_folder():
    """A folder for one pair's files; the name is short because sockets live in it."""
    return pathlib.Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=TEMP))


class Host:
    """One network namespace with one interface towards the peer."""

    DEVICE = "peer0"

    def __init__(self, netns, v4, v6):
        self.netns, self.v4, self.v6 = netns, v4, v6
        ip("netns", "add", netns)
        ip("-n", netns, "link", "set", "lo", "up")

    def popen(self, argv, **kwargs):
        """Start a process here; its pid is the process's own, nsenter only executes it."""
        return subprocess.Popen(
            ["nsenter", f"--net=/run/netns/{self.netns}", "--", *map(str, argv)], **kwargs
        )

    def run(self, argv, **kwargs):
        return subprocess.run(
            ["nsenter", f"--net=/run/netns/{self.netns}", "--", *map(str, argv)],
            check=False,
            capture_output=True,
            text=True,
            **kwargs,
        )

    def configure(self):
        ip("-n", self.netns, "addr", "add", f"{self.v4}/24", "dev", self.DEVICE)
        ip("-n", self.netns, "addr", "add", f"{self.v6}/64", "dev", self.DEVICE, "nodad")
        ip("-n", self.netns, "link", "set", self.DEVICE, "up")

    def link(self, state):
        ip("-n", self.netns, "link", "set", self.DEVICE, state)


class Network:
    """Hosts a and b and the cable between them."""

    def __init__(self):
        name = f"{PREFIX}{os.getpid()}-{next(_serial)}"
        self._names = [f"{name}-a", f"{name}-b"]
        try:
            self.a = Host(self._names[0], "192.168.77.1", "fd77::1")
            self.b = Host(self._names[1], "192.168.77.2", "fd77::2")
            self.plug()
        except BaseException:
            self.close()
            raise

    def plug(self):
        ip("link", "add", Host.DEVICE, "netns", self.a.netns, "type", "veth",
           "peer", "name", Host.DEVICE, "netns", self.b.netns)
        self.a.configure()
        self.b.configure()

    def cut(self):
        """Both interfaces go down: frames are lost without a word, as with a broken switch."""
        self.a.link("down")
        self.b.link("down")

    def mend(self):
        """Back up; IPv6 addresses do not survive an interface that went down."""
        for host in (self.a, self.b):
            host.link("up")
            ip("-n", host.netns, "addr", "replace", f"{host.v6}/64", "dev", host.DEVICE, "nodad")

    def unplug(self):
        """The cable is gone altogether, and the addresses with it."""
        ip("-n", self.a.netns, "link", "del", Host.DEVICE)

    def close(self):
        for netns in self._names:
            remove_namespace(netns)

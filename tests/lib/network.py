# SPDX-License-Identifier: GPL-2.0-or-later
"""Two hosts on one machine: network namespaces joined by a veth pair."""

import itertools
import os
import pathlib
import re
import signal
import subprocess

PREFIX = "colod-"
_serial = itertools.count(1)


def ip(*args):
    subprocess.run(["ip", *args], check=True, capture_output=True, text=True)


def processes_in(netns):
    """The processes whose network is the given namespace."""
    out = subprocess.run(["ip", "netns", "pids", netns], capture_output=True, text=True, check=False)
    return [int(word) for word in out.stdout.split()]


def kill_all_in(netns):
    for pid in processes_in(netns):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


def remove_namespace(netns):
    """End whatever still runs in it (a QEMU outlives its colod) and delete it."""
    kill_all_in(netns)
    subprocess.run(["ip", "netns", "del", netns], capture_output=True, check=False)


def sweep():
    """Remove what a killed test run left behind: the namespaces name the run's process."""
    folder = pathlib.Path("/run/netns")
    for path in folder.iterdir() if folder.is_dir() else []:
        match = re.fullmatch(PREFIX + r"(\d+)-\d+-[ab]", path.name)
        if match and not pathlib.Path("/proc", match[1]).exists():
            remove_namespace(path.name)


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

# SPDX-License-Identifier: GPL-2.0-or-later
"""Two hosts on one machine: network namespaces joined by a cable, and a network for their guest."""

import itertools
import os
import pathlib
import re
import shutil
import subprocess
import tempfile

from processes import alive, kill
from waiting import wait_for

PREFIX = "colod-"
NAMESPACES = pathlib.Path("/run/netns")
TEMP = pathlib.Path(tempfile.gettempdir())
VLANTAP = pathlib.Path(os.environ.get("COLOD_BUILD", "build")).resolve() / "guest" / "vlantap"
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


class Namespace:
    """A network namespace and the processes in it."""

    def __init__(self, netns):
        self.netns = netns
        ip("netns", "add", netns)
        self.ip("link", "set", "lo", "up")

    def ip(self, *args):
        ip("-n", self.netns, *args)

    def argv(self, argv):
        return ["ip", "netns", "exec", self.netns, *map(str, argv)]

    def popen(self, argv, **kwargs):
        """Start a process here; its pid is the process's own, ip only executes it."""
        return subprocess.Popen(self.argv(argv), **kwargs)

    def run(self, argv, **kwargs):
        return subprocess.run(self.argv(argv), check=False, capture_output=True, text=True,
                              **kwargs)

    def sysctl(self, *settings):
        done = self.run(["sysctl", "-q", "-w", *settings])
        assert done.returncode == 0, done.stderr

    def add_bridge(self, name, mac):
        """A bridge that forwards at once and learns like any switch.

        Its own address is set, or it would change whenever a port comes or goes.
        """
        self.ip("link", "add", name, "address", mac, "type", "bridge", "stp_state", "0",
                "forward_delay", "0", "mcast_snooping", "0")
        self.ip("link", "set", name, "up")

    def enslave(self, device, bridge):
        self.sysctl(f"net.ipv6.conf.{device}.disable_ipv6=1")
        self.ip("link", "set", device, "master", bridge)
        self.ip("link", "set", device, "up")


def add_cable(one, one_device, other, other_device):
    ip("link", "add", one_device, "netns", one.netns, "type", "veth",
       "peer", "name", other_device, "netns", other.netns)


class Host(Namespace):
    """One network namespace with one interface towards the peer."""

    DEVICE = "peer0"

    def __init__(self, netns, v4, v6):
        self.v4, self.v6 = v4, v6
        super().__init__(netns)

    def configure(self):
        self.ip("addr", "add", f"{self.v4}/24", "dev", self.DEVICE)
        self.ip("addr", "add", f"{self.v6}/64", "dev", self.DEVICE, "nodad")
        self.ip("link", "set", self.DEVICE, "up")

    def link(self, state):
        self.ip("link", "set", self.DEVICE, state)
        if state == "up":
            # IPv6 addresses do not survive an interface that went down.
            self.ip("addr", "replace", f"{self.v6}/64", "dev", self.DEVICE, "nodad")


class Network:
    """Hosts a and b and the cable between them; with guest_net a network for their guest."""

    def __init__(self, guest_net=False):
        name = f"{PREFIX}{os.getpid()}-{next(_serial)}"
        self._names = [f"{name}-{letter}" for letter in "absc"]
        self.guest_net = None
        try:
            self.a = Host(self._names[0], "192.168.77.1", "fd77::1")
            self.b = Host(self._names[1], "192.168.77.2", "fd77::2")
            self.plug()
            if guest_net:
                self.guest_net = GuestNet(*self._names[2:], [self.a, self.b])
        except BaseException:
            self.close()
            raise

    def plug(self):
        add_cable(self.a, Host.DEVICE, self.b, Host.DEVICE)
        self.a.configure()
        self.b.configure()

    def cut(self):
        """Both interfaces go down: frames are lost without a word, as with a broken switch."""
        self.a.link("down")
        self.b.link("down")

    def mend(self):
        self.a.link("up")
        self.b.link("up")

    def unplug(self):
        """The cable is gone altogether, and the addresses with it."""
        self.a.ip("link", "del", Host.DEVICE)

    def silence(self, host):
        """Nothing comes from this host any more, neither to its peer nor to the guest's clients."""
        self.guest_net.link(host, "down")
        host.link("down")

    def unsilence(self, host):
        host.link("up")
        self.guest_net.link(host, "up")

    def close(self):
        for netns in self._names:
            remove_namespace(netns)


class GuestNet:
    """The network of the guest: a bridge on each host, a switch between them, a client at it.

    The guest has address .2, the client .1, the hosts' bridges .11 and .12; VLAN 5 is another
    network on the same wires.
    """

    BRIDGE = "br0"
    UPLINK = "up0"
    VLAN = 5

    def __init__(self, switch, client, hosts):
        self.hosts = hosts
        self.switch = Namespace(switch)
        self.switch.add_bridge(self.BRIDGE, self.bridge_mac(0))
        for number, host in enumerate(hosts):
            self._add_host(host, number)
        self.client = Namespace(client)
        self._add_client()

    @staticmethod
    def v4(host, nic=0, vlan=0):
        return f"10.9.{vlan or nic * 16}.{host}"

    @staticmethod
    def v6(host, nic=0, vlan=0):
        return f"fd09:{vlan or nic * 16:x}::{host}"

    @classmethod
    def guest_words(cls, nics):
        """What the guest's init needs to know, for the kernel's command line."""
        cards = [(f"eth{nic}", nic, 0) for nic in range(nics)]
        cards.append((f"eth0.{cls.VLAN}", 0, cls.VLAN))
        return " ".join(f"net={name},{cls.v4(2, nic, vlan)}/24,{cls.v6(2, nic, vlan)}/64"
                        for name, nic, vlan in cards)

    @staticmethod
    def mac(nic):
        return f"52:54:00:09:00:{nic + 2:02x}"

    @staticmethod
    def bridge_mac(number):
        return f"02:09:00:00:00:{number:02x}"

    def _add_host(self, host, number):
        add_cable(self.switch, self._port(host), host, self.UPLINK)
        self.switch.enslave(self._port(host), self.BRIDGE)
        host.add_bridge(self.BRIDGE, self.bridge_mac(number + 1))
        host.enslave(self.UPLINK, self.BRIDGE)
        self._add_addresses(host, self.BRIDGE, 11 + number)

    def _add_client(self):
        client = self.client
        client.sysctl("net.ipv4.ip_local_port_range=10000 65000")
        add_cable(self.switch, "to-client", client, "eth0")
        self.switch.enslave("to-client", self.BRIDGE)
        client.ip("link", "set", "eth0", "up")
        self._add_addresses(client, "eth0", 1)
        self._add_addresses(client, "eth0", 1, nic=1)
        # It ends with the namespace, as every process there.
        client.popen([VLANTAP, "eth0", self.VLAN, "vlan0"], stdin=subprocess.DEVNULL)
        wait_for("the VLAN interface",
                 lambda: client.run(["ip", "link", "set", "vlan0", "up"]).returncode == 0)
        self._add_addresses(client, "vlan0", 1, vlan=self.VLAN)

    def _add_addresses(self, namespace, device, host, **which):
        namespace.sysctl(f"net.ipv6.conf.{device}.accept_ra=0")
        namespace.ip("addr", "add", f"{self.v4(host, **which)}/24", "dev", device)
        namespace.ip("addr", "add", f"{self.v6(host, **which)}/64", "dev", device, "nodad")

    @staticmethod
    def _port(host):
        return "to-" + host.netns.rpartition("-")[2]

    def set_mtu(self, mtu):
        """The size of packets on all cables; bridges follow their ports."""
        ends = [(self.switch, "to-client"), (self.client, "eth0")]
        for host in self.hosts:
            ends += [(self.switch, self._port(host)), (host, self.UPLINK)]
        for namespace, device in ends:
            namespace.ip("link", "set", device, "mtu", str(mtu))

    def link(self, host, state):
        """The host's port at the switch goes down or up."""
        self.switch.ip("link", "set", self._port(host), state)

    def add_tap(self, host, name):
        """A tap in the host's bridge, for a guest that nobody protects."""
        host.ip("tuntap", "add", "dev", name, "mode", "tap", "vnet_hdr")
        host.enslave(name, self.BRIDGE)

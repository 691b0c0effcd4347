# SPDX-License-Identifier: GPL-2.0-or-later
"""An etcd at a third place, with a cable of its own to each of a pair's hosts."""

from etcd import Etcd
from network import Namespace, add_cable, remove_namespace

TTL_MS = 4000
DEVICE = "witness0"


class Witness:
    """Arbiter of a pair that has not been started yet."""

    def __init__(self, pair):
        self.pair = pair
        self.namespace = Namespace(pair.network.a.netns.rsplit("-", 1)[0] + "-w")
        try:
            self.etcd = Etcd(self.namespace, pair.folder)
            for number, node in enumerate((pair.a, pair.b)):
                self._add_host(node, number)
            self.etcd.start()
        except BaseException:
            self.close()
            raise

    def _add_host(self, node, number):
        port = self._port(node)
        add_cable(node.host, DEVICE, self.namespace, port)
        for namespace, device, end in ((node.host, DEVICE, 1), (self.namespace, port, 2)):
            namespace.ip("addr", "add", f"10.8.{number}.{end}/24", "dev", device)
            namespace.ip("link", "set", device, "up")
        node.config.update(arbiter="etcd", host=node.folder.name, etcd_ttl_ms=TTL_MS,
                           etcd_endpoints=f"http://10.8.{number}.2:2379")
        node.config.pop("arbiter_command", None)

    @staticmethod
    def _port(node):
        return f"to-{node.folder.name}"

    def cut(self, node):
        node.host.ip("link", "set", DEVICE, "down")

    def mend(self, node):
        node.host.ip("link", "set", DEVICE, "up")

    def owner(self):
        """What etcd says of the guest: ("shared SESSION" or "host HOST" or None, who holds the lease)."""
        return self.etcd.get("/colod/vm/owner"), self.etcd.get("/colod/vm/live")

    def close(self):
        remove_namespace(self.namespace.netns)

# SPDX-License-Identifier: GPL-2.0-or-later
"""The test guest under a QEMU that nobody protects: what clients and benches compare with."""

import shlex
import shutil
import subprocess

from console import Console
from network import GuestNet, Network, make_folder
from pair import QEMUS, Guest


class PlainGuest:
    """One QEMU on host a of a network of its own, its taps in the bridge there."""

    def __init__(self, qemu=QEMUS["system"], guest=None, nics=1, memory="128M"):
        self.guest = (guest or Guest()).with_nics(nics)
        self.nics, self.memory, self.qemu = nics, memory, qemu
        self.folder = make_folder()
        self.proc = None
        try:
            self.network = Network(guest_net=True)
        except BaseException:
            shutil.rmtree(self.folder)
            raise
        self.console = Console(self.folder)

    @property
    def client(self):
        """The namespace of the guest's clients."""
        return self.network.guest_net.client

    def _nic_args(self, nic):
        return (f"-netdev tap,id=net{nic},ifname=tap{nic},script=no,downscript=no,vhost=off"
                f" -device virtio-net-pci,netdev=net{nic},mac={GuestNet.mac(nic)},romfile=")

    def start(self):
        host = self.network.a
        for nic in range(self.nics):
            self.network.guest_net.add_tap(host, f"tap{nic}")
        args = [f"-m {self.memory} -display none -monitor none",
                self.guest.qemu_args(self.console), *map(self._nic_args, range(self.nics))]
        with open(self.folder / "log", "ab") as log:
            self.proc = host.popen([self.qemu, *shlex.split(" ".join(args))],
                                   stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.console.wait_text("GUEST-UP")
        return self

    def dump(self):
        yield "log of QEMU", (self.folder / "log").read_text(errors="replace")
        yield "console", self.console.text()[-4000:]

    def close(self):
        self.network.close()
        if self.proc:
            self.proc.kill()
            self.proc.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

# SPDX-License-Identifier: GPL-2.0-or-later
"""The test guest itself: it must notice the damage that the other tests rely on it to notice."""

import json
import mmap
import socket
import subprocess

import pytest

from console import Console
from pair import Guest
from waiting import wait_for

MEMORY = 128 << 20
PAGE = 4096


class PlainGuest:
    """The guest under QEMU alone, its memory in a file that the test may change."""

    def __init__(self, qemu, folder):
        self.console = Console(folder)
        self.ram_path = folder / "ram"
        args = Guest(append="dirty=16,2 rate=2000").qemu_args(self.console)
        argv = (f"{qemu} {args} -m 128M -machine memory-backend=ram -display none"
                f" -object memory-backend-file,id=ram,size=128M,mem-path={self.ram_path},share=on"
                f" -qmp unix:{folder}/qmp,server=on,wait=off")
        self.proc = subprocess.Popen(["sh", "-c", f"exec {argv}"], stdin=subprocess.DEVNULL)
        self.console.wait_text("tick 5 ok")
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(f"{folder}/qmp")
        self.qmp = sock.makefile("rw")
        self.qmp.readline()
        self.command("qmp_capabilities")
        with open(self.ram_path, "r+b") as f:
            self.ram = mmap.mmap(f.fileno(), MEMORY)

    def command(self, name):
        self.qmp.write(json.dumps({"execute": name}) + "\n")
        self.qmp.flush()
        while "return" not in json.loads(self.qmp.readline()):
            pass

    def close(self):
        self.proc.kill()
        self.proc.wait()


@pytest.fixture
def plain(qemu, tmp_path):
    guest = PlainGuest(qemu, tmp_path)
    yield guest
    guest.close()


def changed_pages(old, new):
    return [at for at in range(0, MEMORY, PAGE) if old[at:at + PAGE] != new[at:at + PAGE]]


def counter_pages(ram, candidates):
    """Pages of the counters: they begin with their number and the update that wrote them."""
    def looks_right(at):
        words = memoryview(ram[at:at + 32]).cast("Q")
        return 0 < words[0] < 2048 and 0 < words[1] < 1 << 20 and words[2] < 2048

    return [at for at in candidates if looks_right(at)]


def one_old_page(plain, old, candidates):
    at = counter_pages(plain.ram[:], candidates)[0]
    plain.ram[at:at + PAGE] = old[at:at + PAGE]


def one_torn_page(plain, old, candidates):
    at = counter_pages(plain.ram[:], candidates)[0]
    plain.ram[at + PAGE // 2:at + PAGE] = old[at + PAGE // 2:at + PAGE]


def all_counters_old(plain, old, candidates):
    for at in counter_pages(plain.ram[:], candidates):
        plain.ram[at:at + PAGE] = old[at:at + PAGE]


@pytest.mark.parametrize("damage", [one_old_page, one_torn_page, all_counters_old])
def test_a_page_of_another_epoch_is_noticed_by_the_guest(plain, damage):
    plain.command("stop")
    old = plain.ram[:]
    plain.command("cont")
    plain.console.wait_ticks(5)
    plain.command("stop")
    damage(plain, old, changed_pages(old, plain.ram[:]))
    plain.command("cont")
    wait_for("the guest to notice", lambda: "CORRUPT" in plain.console.text())


def test_an_undisturbed_guest_reports_nothing(plain):
    plain.command("stop")
    plain.command("cont")
    plain.console.wait_ticks(20)
    plain.console.audit()
    assert "CORRUPT" not in plain.console.text()

# SPDX-License-Identifier: GPL-2.0-or-later
"""A protected guest: two hosts with a colod and a QEMU each."""

import dataclasses
import json
import os
import pathlib
import shutil
import signal
import subprocess

from console import Console
from network import GuestNet, Network, kill_all_in, make_folder
from waiting import TIMEOUT_S, wait_for

BUILD = pathlib.Path(os.environ.get("COLOD_BUILD", "build")).resolve()
COLOD = BUILD / "colod"
COLO_CTL = BUILD / "colo-ctl"
KERNEL = BUILD / "kernel" / "vmlinuz"
INITRD = BUILD / "guest" / "initrd.gz"
QEMUS = {
    "system": "qemu-system-x86_64",
    "qemu10": str(BUILD / "qemu10" / "qemu-system-x86_64"),
}
PORT = 7700
ARBITER = pathlib.Path(__file__).resolve().parent / "arbiter.sh"
TAIL_LINES = 60


def missing_files():
    """What `make check-system` builds before it starts the tests, and is not there."""
    return [str(p) for p in (COLOD, COLO_CTL, KERNEL, INITRD) if not p.exists()]


# What a kernel under TCG spends a fifth of its boot on, and no test looks at.
# A vCPU that the host does not let run for a while would fail the kernel's test of its timer interrupt.
BOOT_FAST = "nokaslr cryptomgr.notests no_timer_check"


@dataclasses.dataclass
class Guest:
    """What the virtual machine is made of; the same on both hosts."""

    append: str = "dirty=32,5"
    machine: str = "q35"
    extra: str = ""
    initrd: pathlib.Path = INITRD

    def qemu_args(self, console):
        return (f"-machine {self.machine} -accel tcg -cpu max -nodefaults -vga none"
                f" -kernel {KERNEL} -initrd {self.initrd}"
                f' -append "console=ttyS0 quiet {BOOT_FAST} {self.append}"'
                f" -device pvpanic {console.qemu_args()} {self.extra}").strip()

    def with_nics(self, count):
        """The same guest with addresses on so many network cards."""
        if not count:
            return self
        return dataclasses.replace(self, append=f"{self.append} {GuestNet.guest_words(count)}")


class CtlError(Exception):
    """colo-ctl refused: its exit code and its words."""

    def __init__(self, code, text):
        super().__init__(f"colo-ctl exit code {code}: {text}")
        self.code, self.text = code, text


class Node:
    """colod on one host, with its configuration, its QEMU and the guest's console there."""

    def __init__(self, host, folder, listen, peer, qemu, guest):
        self.host, self.folder, self.guest = host, folder, guest
        self.run_dir = folder / "run"
        folder.mkdir(parents=True)
        self.console = Console(folder)
        self.config = {
            "name": "vm",
            "listen": listen,
            "peer": peer,
            "insecure": "yes",
            "qemu": qemu,
            "qemu_args": guest.qemu_args(self.console),
            "memory": "128M",
            "runtime_dir": str(self.run_dir),
            "log_level": "debug",
        }
        self.config_path = folder / "vm.conf"
        self.log_path = folder / "log"
        self.proc = None
        self.manager = None

    # -- life

    def config_lines(self):
        """The configuration file; a list is a key that is given several times."""
        for key, value in self.config.items():
            for one in value if isinstance(value, list) else [value]:
                yield f"{key} = {one}\n"

    def start(self, role):
        """A colod that starts a QEMU."""
        self.console.set_aside()
        self.start_again(role)

    def start_again(self, role):
        """A colod that finds the QEMU which the last one has left."""
        self.config_path.write_text("".join(self.config_lines()))
        with open(self.log_path, "ab") as log:
            self.proc = self.popen(
                [COLOD, f"--{role}", "--config", self.config_path],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)

    def popen(self, argv, **kwargs):
        """Start colod, under a service manager if there is one."""
        if self.manager:
            return self.manager.popen(self.host, argv, **kwargs)
        return self.host.popen(argv, **kwargs)

    def log(self):
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def assert_runs(self):
        assert self.proc.poll() is None, (
            f"colod on {self.folder.name} ended with {self.proc.returncode}")

    def wait_exit(self, timeout=TIMEOUT_S):
        """Wait for colod to end by itself; its exit code."""
        wait_for(f"the end of colod on {self.folder.name}",
                 lambda: self.proc.poll() is not None, timeout)
        return self.proc.returncode

    def wait_log(self, text):
        wait_for(f"{text!r} in the log of {self.folder.name}", lambda: text in self.log())

    # -- control

    @property
    def socket_path(self):
        return self.run_dir / f"{self.config['name']}.sock"

    def ctl(self, *words, timeout=TIMEOUT_S):
        """Run colo-ctl with --json and return the answer; CtlError when it is refused."""
        done = subprocess.run(
            [COLO_CTL, "--socket", self.socket_path, *words, "--json"],
            capture_output=True, text=True, timeout=timeout, check=False)
        if done.returncode not in (0, 4):
            raise CtlError(done.returncode, done.stderr.strip() or done.stdout.strip())
        return json.loads(done.stdout)

    def status(self):
        return self.ctl("status")

    def status_or_none(self):
        try:
            return self.status()
        except (CtlError, ValueError, OSError, subprocess.TimeoutExpired):
            return None

    def wait_status(self, what, condition, timeout=TIMEOUT_S):
        """Wait until condition(status) holds; it is an error at once when colod ends meanwhile."""
        def check():
            self.assert_runs()
            status = self.status_or_none()
            return status if status and condition(status) else None

        return wait_for(f"{what} on {self.folder.name}", check, timeout, interval=0.05)

    def wait_state(self, state, timeout=TIMEOUT_S):
        """Wait for a state of the failover machine, which is "setup" also while QEMU still starts."""
        return self.wait_status(
            f"state {state}", lambda s: s["state"] == state and "qemu" in s, timeout)

    def wait_epoch(self, epoch, timeout=TIMEOUT_S):
        return self.wait_status(f"epoch {epoch}", lambda s: s["epoch"] >= epoch, timeout)

    def verify(self):
        """Compare all guest memory of both hosts; fail when a page differs."""
        answer = self.ctl("verify")
        assert answer["differing_pages"] == 0, answer
        assert answer["pages"] > 0, answer
        return answer

    # -- violence

    def qemu_pid(self):
        path = self.run_dir / f"{self.config['name']}.pid"
        return int(path.read_text()) if path.exists() else None

    def kill_qemu(self):
        os.kill(self.qemu_pid(), signal.SIGKILL)

    def kill_colod(self):
        self.proc.kill()
        self.proc.wait()

    def kill_all(self):
        """colod and QEMU end at the same moment, as when the host dies."""
        kill_all_in(self.host.netns)
        self.proc.wait()

    def terminate(self):
        self.proc.send_signal(signal.SIGTERM)

    def dump(self):
        """The ends of this host's log and console, for the report of a failed test."""
        for title, text in (("log", self.log()), ("console", self.console.text())):
            tail = "\n".join(text.split("\n")[-TAIL_LINES:])
            yield f"{title} of {self.folder.name}", tail


def nic_line(nic):
    """The value of colod.conf's key nic."""
    return f"tap=tap{nic} bridge={GuestNet.BRIDGE} mac={GuestNet.mac(nic)}"


class Pair:
    """Nodes a and b; a starts as the primary. nics: network cards of the guest."""

    def __init__(self, qemu=QEMUS["system"], guest=None, guest_b=None, ipv6=False, nics=0,
                 **config):
        guest = (guest or Guest()).with_nics(nics)
        guest_b = guest_b.with_nics(nics) if guest_b else guest
        self.folder = make_folder()
        try:
            self.network = Network(guest_net=nics > 0)
        except BaseException:
            shutil.rmtree(self.folder)
            raise
        a, b = self.network.a, self.network.b
        ends = [f"[{h.v6}]:{PORT}" if ipv6 else f"{h.v4}:{PORT}" for h in (a, b)]
        self.a = Node(a, self.folder / "a", ends[0], ends[1], qemu, guest)
        self.b = Node(b, self.folder / "b", ends[1], ends[0], qemu, guest_b)
        for node in (self.a, self.b):
            if nics:
                node.config["nic"] = [nic_line(nic) for nic in range(nics)]
            node.config["arbiter"] = "exec"
            node.config["arbiter_command"] = f"sh {ARBITER} {self.folder} {node.folder.name}"
            node.config["recover_timeout_ms"] = 200
            node.config.update(config)

    def start(self):
        """Both daemons up, the guest protected and booted."""
        self.a.start("primary")
        self.b.start("secondary")
        self.wait_protected()
        self.wait_booted(self.a)
        if self.network.guest_net:
            # The other guest may be booting yet, and would be what clients find at a failover.
            self.a.ctl("checkpoint")
        return self

    def wait_protected(self):
        for node in (self.a, self.b):
            node.wait_state("colo")

    def wait_booted(self, node):
        def ticks():
            node.assert_runs()
            return len(node.console.ticks()) >= 3

        wait_for(f"the guest to boot on {node.folder.name}", ticks)

    @property
    def client(self):
        """The namespace of the guest's clients."""
        return self.network.guest_net.client

    def decide(self, node):
        """Should the hosts lose each other: the only one that may go on, or None for the first that asks."""
        only = self.folder / "only"
        if node:
            only.write_text(node.folder.name)
        else:
            only.unlink(missing_ok=True)

    def other(self, node):
        return self.b if node is self.a else self.a

    def dump(self):
        for node in (self.a, self.b):
            yield from node.dump()
            yield f"status of {node.folder.name}", json.dumps(node.status_or_none(), indent=1)

    def close(self):
        """End everything, also QEMUs whose colod is gone, and leave nothing behind."""
        self.network.close()
        for node in (self.a, self.b):
            if node.proc:
                node.proc.kill()
                node.proc.wait()
        if os.environ.get("COLOD_TEST_KEEP"):
            kept = self.folder.rename(self.folder.with_name(f"colod-kept-{self.folder.name}"))
            print(f"kept: {kept}")
        else:
            shutil.rmtree(self.folder, ignore_errors=True)

# SPDX-License-Identifier: GPL-2.0-or-later
"""Ways for a host to be lost under its clients' load, and what must hold then."""

import pathlib
import time

from netclient import Loads
from netloads import ANY
from processes import alive
from waiting import wait_for

CONFIG = {"peer_timeout_ms": 500}
# An answer let out in a host's last milliseconds may be unknown to the other, which gives it again.
REPEATED = 8


def at_a_random_moment(rng):
    # The one deliberate wait: where in an epoch the blow falls is left to chance.
    time.sleep(rng.uniform(0, 0.3))


def kill_qemu(pair, node):
    node.kill_qemu()


def kill_host(pair, node):
    """The network goes first: not even a last FIN of the dying host's kernel gets out."""
    pair.network.silence(node.host)
    node.kill_all()


def kill_colod(pair, node):
    """Its QEMU runs on, and must not be heard any more."""
    node.kill_colod()


def silence_host(pair, node):
    """The host lives, but nobody hears it."""
    pair.network.silence(node.host)


def take_over(pair, node):
    """Wait until the other side is live."""
    other = pair.other(node)
    status = other.wait_state("solo")
    assert status["role"] == "primary"
    return other


def has_tap(host):
    return host.run(["ip", "link", "show", "tap0"]).returncode == 0


def wait_gone(node, pid):
    """Wait until a killed QEMU has given back what it had: its threads end one by one."""
    def gone():
        tasks = pathlib.Path(f"/proc/{pid}/task")
        return (not alive(pid) and not has_tap(node.host)
                and (not tasks.exists() or len(list(tasks.iterdir())) <= 1))

    wait_for(f"the end of QEMU on {node.folder.name}", gone)


def lose(pair, node, rng, blow, specs, may_lose=ANY):
    """Strike a host under load: every connection goes on at the other one."""
    pair.decide(pair.other(node))
    with Loads(pair.client, pair.folder, specs) as loads:
        loads.wait_progress(10)
        at_a_random_moment(rng)
        blow(pair, node)
        other = take_over(pair, node)
        loads.wait_progress(10)
        loads.assert_intact(may_lose, REPEATED)
    other.console.assert_sound()
    other.console.audit()

# SPDX-License-Identifier: GPL-2.0-or-later
"""Two hosts that lose each other, and an etcd that lets one of them go on."""

import pair as pairs
from demo_net import ASK_EVERY_US, GUEST, View
from demo_show import boot, ctl, say, show, show_table, step
from netclient import Loads
from waiting import wait_for
from witness import TTL_MS, Witness

PAIR = {
    "guest": pairs.Guest(append="counter=4 rate=50"),
    "nics": 1,
    "mode": "colo",
    "peer_timeout_ms": 500,
    "recover_timeout_ms": 500,
    "log_level": "notice",
}
CLIENTS = [("tcp", GUEST, {"interval_us": ASK_EVERY_US})]


def live_sides(pair):
    """The hosts whose guest may be heard without the other's word."""
    statuses = [(node.folder.name, node.status_or_none() or {}) for node in (pair.a, pair.b)]
    return [name for name, status in statuses if status.get("arbiter", {}).get("alone")]


def who(pair, witness):
    owner, lease = witness.owner()
    show(f"etcd: owner = {owner!r}, lease held by {lease or 'nobody'};"
         f" live by themselves: {', '.join(live_sides(pair)) or 'none'}")


def split(pair, witness, view):
    step("The cable between the hosts breaks, and host a's way to etcd with it")
    who(pair, witness)
    view.rows(1)
    say("        both cables are cut", "1;31")
    pair.network.cut()
    witness.cut(pair.a)
    pair.b.wait_state("solo")
    view.rows(2)
    who(pair, witness)
    show("host a could not ask, so it holds its guest's output, and says so:")
    reason = pair.a.wait_status("its reason", lambda s: s.get("paused", {}).get("arbiter"))
    show(f"   {reason['paused']['arbiter']}")
    if live_sides(pair) != ["b"]:
        raise SystemExit("demo: not exactly one side is live")


def heal(pair, witness, view):
    step("The cables are mended: host a gives its guest up and becomes host b's secondary")
    pair.network.mend()
    witness.mend(pair.a)
    pair.wait_protected()
    view.rows(2)
    wait_for("the guest to be shared", lambda: witness.owner()[0].startswith("shared"))
    who(pair, witness)
    ctl(pair.b, "verify")
    pair.b.verify()


def lease(pair, witness):
    step("Host a dies; host b is alone, and then loses etcd: it is mute before its lease is over")
    pair.a.kill_all()
    pair.b.wait_state("solo")
    who(pair, witness)
    witness.cut(pair.b)
    pair.b.wait_status("held output", lambda s: s.get("paused", {}).get("output_held"))
    who(pair, witness)
    held_by = witness.owner()[1]
    show(f"the lease of {TTL_MS} ms is still held by {held_by}: nobody else could have had it")
    witness.mend(pair.b)
    pair.b.wait_state("solo")
    who(pair, witness)
    if held_by != "b":
        raise SystemExit("demo: the output was held too late")


def run(pair):
    witness = Witness(pair)
    try:
        boot(pair)
        wait_for("the guest to be shared",
                 lambda: (witness.owner()[0] or "").startswith("shared"))
        with Loads(pair.client, pair.folder, CLIENTS) as loads:
            loads.wait_progress()
            split(pair, witness, SplitView(pair, loads))
            heal(pair, witness, SplitView(pair, loads))
            lease(pair, witness)
            loads.wait_progress(5)
            asked = loads.stop()[0]
    finally:
        witness.close()
    step("Summary")
    show_table([
        ("requests answered, all on one connection", asked.n),
        ("requests lost / connections reset", f"{asked.errors + asked.lost} / {asked.resets}"),
        ("bytes wrong", asked.wrong_bytes),
        ("longest gap between two answers", f"{asked.gap_ms:.0f} ms"),
    ])
    if asked.errors or asked.lost or asked.resets or asked.wrong_bytes:
        raise SystemExit(f"demo: the client noticed: {asked.why}")


class SplitView(View):
    """The same view with one client."""

    def __init__(self, pair, loads):
        self.pair, self.loads = pair, loads

    def row(self):
        asked = self.loads.all[0].latest()
        states = [(node.status_or_none() or {}) for node in (self.pair.a, self.pair.b)]
        show(f"answers {asked.n if asked else 0:6} | " + " | ".join(
            f"host {name}: {s.get('role', '-')} {s.get('state', '-')}"
            for name, s in zip("ab", states)))

# SPDX-License-Identifier: GPL-2.0-or-later
"""What has left a host binds the guest for ever: nothing leaves that the survivor does not know."""

import json
import time

import pytest

from countload import CountLoad
from netblows import has_tap, wait_gone
from netflood import AskStatus, flood_datagrams, flood_syns, own_memory
from network import GuestNet
from outputlog import PORT_COUNTS, PORT_DIFFERS, OutputLog, assert_never_contradicted
from pair import Guest
from waiting import wait_for

V4, V6 = GuestNet.v4(2), GuestNet.v6(2)
VLAN4 = GuestNet.v4(2, vlan=GuestNet.VLAN)
QUIET = Guest(append="rate=200")
CONFIG = {"peer_timeout_ms": 500}
# One flow: both guests count alike. Many: they count in an order that differs between the hosts.
ONE = [("tcp", V4, PORT_COUNTS)]
MANY = [(proto, address, PORT_COUNTS) for proto in ("tcp", "udp") for address in (V4, V6)] + [
    ("tcp", V4, PORT_DIFFERS), ("udp", V6, PORT_DIFFERS)]
TAGGED = [("tcp", VLAN4, PORT_COUNTS), ("udp", VLAN4, PORT_COUNTS)]
ASKERS = [("tcp", V4, PORT_COUNTS), ("udp", V4, PORT_COUNTS)]
LIMITS = {"max_held_packets": 2000, "max_held_bytes": "4M", "max_flows": 1024,
          "max_half_open": 256}
# What a flood may take at most: what is held (LIMITS), the frames kept for the peer (64M inbound,
# 16M each of outbound, rewritten and unsent ones), and the pages that the guest writes meanwhile.
BOUND_BYTES = (4 + 64 + 3 * 16 + 128) << 20
SLACK_BYTES = 16 << 20
FLOODS = 8


def at_a_random_moment(rng):
    # The one deliberate wait: where in an epoch the blow falls is left to chance.
    time.sleep(rng.uniform(0, 0.3))


def kill_qemu(pair, node):
    node.kill_qemu()


def kill_host(pair, node):
    node.kill_all()


def kill_colod(pair, node):
    """The guest runs on, and what it says must not be heard."""
    node.kill_colod()


def silence_host(pair, node):
    """The host lives; what leaves it goes nowhere, but would have bound the guest."""
    pair.network.silence(node.host)


BLOWS = [kill_qemu, kill_host, kill_colod, silence_host]


def take_over(pair, node):
    other = pair.other(node)
    assert other.wait_state("solo")["role"] == "primary"
    return other


def restart_as_secondary(pair, node):
    pid = node.qemu_pid()
    node.kill_all()
    wait_gone(node, pid)
    pair.network.unsilence(node.host)
    node.start("secondary")
    pair.wait_protected()


def wait_released(node, why):
    """Wait until a reason has let out answers, while questions are asked."""
    node.wait_status(f"answers let out by {why}", lambda s: s["proxy"]["released_by"][why] > 0)


def lose_hosts(pair, rng, load, blows):
    """Each host in turn is lost and comes back as the secondary."""
    node = pair.a
    for blow in blows:
        load.wait_progress(10)
        at_a_random_moment(rng)
        print(f"{blow.__name__} on {node.folder.name}")
        pair.decide(pair.other(node))
        blow(pair, node)
        lost, node = node, take_over(pair, node)
        load.wait_progress(10)
        restart_as_secondary(pair, lost)
    load.wait_progress(10)
    return node


@pytest.mark.parametrize("mode, specs", [("colo", ONE), ("colo", MANY), ("periodic", MANY)],
                         ids=["colo-one", "colo-many", "periodic"])
def test_no_answer_that_left_is_ever_contradicted(make_pair, rng, scale, mode, specs):
    pair = make_pair(nics=1, guest=QUIET, mode=mode, **CONFIG).start()
    blows = rng.choices(BLOWS, k=scale(30, 2))
    with OutputLog(pair.network) as log, CountLoad(pair.client, specs) as load:
        node = lose_hosts(pair, rng, load, blows)
        assert assert_never_contradicted(log) >= 20 * len(blows)
        wait_released(node, "match" if specs is ONE else "commit")
    node.console.audit()


def test_tagged_connections_survive(make_pair, rng, scale):
    pair = make_pair(nics=1, guest=QUIET, mode="colo", **CONFIG).start()
    blows = rng.choices(BLOWS, k=scale(10, 1))
    with OutputLog(pair.network) as log, CountLoad(pair.client, TAGGED) as load:
        load.wait_progress(10)
        # A replica whose guest has booted by itself has a filter of tags until it loads a checkpoint.
        pair.a.ctl("checkpoint")
        lose_hosts(pair, rng, load, blows)
        assert_never_contradicted(log)


# ---- a primary that must not speak ----

def cut_off_primary(make_pair, **config):
    """A pair that nobody decides for, whose primary loses its peer soon and whose secondary does not."""
    pair = make_pair(nics=1, guest=QUIET, mode="colo", arbiter="none", arbiter_command=[],
                     **config)
    # It hears but answers to its checkpoints: the other's heartbeats are as rare as it is patient.
    pair.a.config["peer_timeout_ms"] = 2000
    pair.b.config["peer_timeout_ms"] = 600000
    return pair.start()


def wait_mute(pair, log, load):
    """Cut the cable; when the primary holds its output, show that it really does."""
    load.wait_progress(10)
    pair.network.cut()
    # Until then ARP is answered: the other side cannot be live yet.
    pair.a.wait_status("the question who goes on",
                       lambda s: s["state"] == "paused" and s["paused"]["arbiter"])
    since, asked = log.position(), load.asked()
    # Questions go on arriving: the silence is the hosts', not the clients'.
    wait_for("further questions", lambda: load.asked() >= asked + 5 and log.packets(since))
    assert not log.output(since), log.output(since)[:3]
    return load.answered()


def test_a_primary_that_may_not_be_alone_is_mute_until_its_peer_is_back(make_pair):
    pair = cut_off_primary(make_pair)
    with OutputLog(pair.network) as log, CountLoad(pair.client, ASKERS) as load:
        wait_mute(pair, log, load)
        epoch = pair.a.status()["epoch"]
        pair.network.mend()
        pair.wait_protected()
        load.wait_progress(10)
        assert pair.a.status()["epoch"] > epoch
        assert pair.a.status()["role"] == "primary"
        assert_never_contradicted(log)
    pair.a.verify()


def test_the_operators_word_lets_a_mute_primary_speak(make_pair):
    pair = cut_off_primary(make_pair)
    with OutputLog(pair.network) as log, CountLoad(pair.client, ASKERS) as load:
        wait_mute(pair, log, load)
        pair.a.ctl("set", "solo", "allow")
        load.wait_progress(10)
        assert pair.a.wait_state("solo")["role"] == "primary"
        assert_never_contradicted(log)
    assert pair.a.status()["proxy"]["held"] == 0


# ---- floods ----

def test_a_flood_of_datagrams_does_not_make_colod_grow(make_pair, scale):
    pair = make_pair(nics=1, guest=QUIET, mode="colo", **LIMITS).start()
    assert_survives(pair, lambda: flood_datagrams(pair.client, V4, scale(30, 3)))


def test_a_flood_of_half_open_connections_does_not_make_colod_grow(make_pair, scale):
    pair = make_pair(nics=1, guest=QUIET, mode="colo", **LIMITS).start()
    # The client's kernel must not end what it knows nothing of.
    done = pair.client.run(["iptables", "-I", "OUTPUT", "-p", "tcp", "--tcp-flags", "RST", "RST",
                            "-j", "DROP"])
    assert done.returncode == 0, done.stderr
    assert_survives(pair, lambda: flood_syns(pair.client, V4, scale(30, 3)))
    assert pair.a.status()["proxy"]["half_open"] <= LIMITS["max_half_open"]


def grown(pair, before):
    return {name: own_memory(pid) - before[name] for name, pid in pids_of(pair).items()}


def pids_of(pair):
    return {node.folder.name: node.proc.pid for node in (pair.a, pair.b)}


def flood_until_full(pair, flood, askers):
    """Floods may fill what is bounded; then a further one must not add to it. How many were sent.

    They go on until each of the askers has had some answers meanwhile.
    """
    before = {name: own_memory(pid) for name, pid in pids_of(pair).items()}
    had, sent, seen = dict.fromkeys(before, 0), 0, []
    for _ in range(FLOODS):
        sent += flood()
        has = grown(pair, before)
        seen.append(has)
        if (all(has[name] - had[name] < SLACK_BYTES for name in has)
                and all(asker.answers > 5 for asker in askers)):
            break
        had = has
    print(f"sent {sent}, grown by {seen}")
    assert len(seen) < FLOODS, seen
    assert all(bytes_ < BOUND_BYTES for bytes_ in seen[-1].values()), seen
    return sent


def assert_survives(pair, flood):
    load_specs = [("udp", V4, PORT_COUNTS)]
    with CountLoad(pair.client, load_specs) as load:
        load.wait_progress(10)
        # Every question of the operator is answered, on both hosts.
        with AskStatus(pair.a) as a, AskStatus(pair.b) as b:
            sent = flood_until_full(pair, flood, [a, b])
        assert sent > 1000, sent
        pair.wait_protected()
        load.wait_progress(10)
        pair.a.wait_epoch(pair.a.status()["epoch"] + 1)
    pair.a.ctl("checkpoint")
    pair.a.verify()


# ---- nothing is left behind ----

def rules_of(host):
    """All packet filter rules of a host, without counters, and its bridge's switches."""
    lines = []
    for tool in ("iptables-save", "ip6tables-save"):
        text = host.run([tool]).stdout
        lines += [f"{tool}: {line}" for line in text.split("\n") if line.startswith("-A")]
        lines += [f"{tool}: {line}" for line in text.split("\n") if line.startswith(":colod")]
    link = json.loads(host.run(["ip", "-d", "-j", "link", "show", GuestNet.BRIDGE]).stdout)[0]
    data = link["linkinfo"]["info_data"]
    switches = {key: data[key] for key in ("nf_call_iptables", "nf_call_ip6tables")}
    vlan = host.run(["sysctl", "-n", "net.bridge.bridge-nf-filter-vlan-tagged"]).stdout
    return lines, switches, vlan


def own_rules(host):
    """The administrator's: what colod must leave as it is."""
    for tool in ("iptables", "ip6tables"):
        for chain in ("PREROUTING", "POSTROUTING"):
            done = host.run([tool, "-t", "mangle", "-A", chain, "-p", "sctp", "-j", "ACCEPT"])
            assert done.returncode == 0, done.stderr
    host.ip("link", "set", GuestNet.BRIDGE, "type", "bridge", "nf_call_iptables", "0",
            "nf_call_ip6tables", "1")


@pytest.fixture(name="marked_pair")
def fixture_marked_pair(make_pair):
    """A pair on hosts with rules of their own, and how both hosts were before."""
    pair = make_pair(nics=1, guest=QUIET, mode="colo", **CONFIG)
    for host in (pair.network.a, pair.network.b):
        own_rules(host)
    pair.before = [rules_of(host) for host in (pair.network.a, pair.network.b)]
    return pair.start()


def wait_no_tap(host):
    """QEMU's end is known when its first thread ends: the tap goes with its last one."""
    wait_for("the tap to go", lambda: not has_tap(host))


def assert_as_before(pair):
    for node, before in zip((pair.a, pair.b), pair.before):
        assert rules_of(node.host) == before
        wait_no_tap(node.host)


def assert_holds(node):
    assert any("NFQUEUE" in line for line in rules_of(node.host)[0])


def test_stop_leaves_the_packet_filter_as_it_was(marked_pair):
    pair = marked_pair
    assert_holds(pair.a)
    pair.a.ctl("stop")
    assert [node.wait_exit() for node in (pair.a, pair.b)] == [0, 0]
    assert_as_before(pair)


def test_sigterm_leaves_the_packet_filter_as_it_was(marked_pair):
    pair = marked_pair
    pair.a.terminate()
    assert pair.a.wait_exit() == 0
    pair.b.wait_state("solo")
    assert rules_of(pair.a.host) == pair.before[0]
    wait_no_tap(pair.a.host)
    pair.b.terminate()
    assert pair.b.wait_exit() == 0
    assert_as_before(pair)


@pytest.mark.parametrize("victim", ["a", "b"])
def test_a_killed_colods_rules_hold_and_go_when_it_comes_back(marked_pair, victim):
    pair = marked_pair
    node = getattr(pair, victim)
    node.kill_colod()
    pair.other(node).wait_state("solo")
    # Nobody answers for the guest here any more: it must not be heard, and is not.
    assert has_tap(node.host)
    if node is pair.a:
        assert_holds(node)
    pid = node.qemu_pid()
    node.kill_qemu()
    wait_gone(node, pid)
    node.start("secondary")
    pair.wait_protected()
    pair.other(node).ctl("stop")
    assert [one.wait_exit() for one in (pair.a, pair.b)] == [0, 0]
    assert_as_before(pair)


# ---- routed taps ----

def make_routed(pair):
    """The hosts route between the bridge's network and the guest, and answer ARP for both."""
    for node in (pair.a, pair.b):
        node.config["nic"] = [f"tap=tap0 routed mac={GuestNet.mac(0)}"]
    return pair


def route_here(pair, node):
    """What a routing protocol would do on the host where the guest is live, and at the client."""
    host = node.host
    host.sysctl("net.ipv4.ip_forward=1", "net.ipv4.conf.tap0.proxy_arp=1",
                "net.ipv4.conf.tap0.arp_ignore=0", "net.ipv4.conf.tap0.rp_filter=0")
    # The same on both hosts, so that what the guest knows of its router stays true.
    host.ip("link", "set", "tap0", "address", "02:09:00:00:01:00")
    host.ip("link", "set", "tap0", "up")
    host.ip("route", "replace", f"{V4}/32", "dev", "tap0")
    bridge = GuestNet.v4(11 if node is pair.a else 12)
    pair.client.ip("route", "replace", f"{V4}/32", "via", bridge)


def test_a_routed_guest_is_held_compared_and_taken_over(make_pair):
    pair = make_routed(make_pair(nics=1, guest=QUIET, mode="colo", **CONFIG)).start()
    route_here(pair, pair.a)
    with OutputLog(pair.network) as log, CountLoad(pair.client, ONE) as load:
        load.wait_progress(20)
        wait_released(pair.a, "match")
        kill_host(pair, pair.a)
        node = take_over(pair, pair.a)
        route_here(pair, node)
        load.wait_progress(20)
        assert_never_contradicted(log)
    node.console.audit()

# SPDX-License-Identifier: GPL-2.0-or-later
"""Two hosts' arbiters and a real etcd: cables cut, etcd paused, restarted, slow, wiped."""

import os
import pathlib
import queue
import signal
import subprocess
import sys
import threading
import time

import pytest

from etcd import Etcd
from network import Namespace, PREFIX, add_cable, make_folder, remove_namespace
from processes import kill
from tlsfiles import Authority, certtool, make_key
from waiting import TIMEOUT_S, wait_for
from witness import Witness

RELAY = pathlib.Path(__file__).resolve().parent.parent / "lib" / "linkrelay.py"
HOST = pathlib.Path(os.environ.get("COLOD_BUILD", "build")).resolve() / "tests" / "arbiter-host"
OWNER = "/colod/guest/owner"
LIVE = "/colod/guest/live"
TTL_MS = 2000


def shared(session):
    return f"shared {session:016x}"


class ArbiterHost:
    """A host and its cable to etcd."""

    def __init__(self, rig, letter, number):
        self.letter = letter
        self.namespace = Namespace(rig.name(letter))
        self.address, self.etcd_address = f"10.8.{number}.1", f"10.8.{number}.2"
        self._device = f"to-{letter}"
        self._etcd_namespace = rig.namespace
        add_cable(self.namespace, "etcd0", rig.namespace, self._device)
        for namespace, device, address in [(self.namespace, "etcd0", self.address),
                                           (rig.namespace, self._device, self.etcd_address)]:
            namespace.ip("addr", "add", f"{address}/24", "dev", device)
            namespace.ip("link", "set", device, "up")
        self.folder = rig.folder
        self.process = None
        self.answers = []  # (microseconds, word, reason)
        self._new = queue.Queue()

    def start(self, endpoints, **settings):
        conf = self.folder / f"{self.letter}.conf"
        keys = {"name": "guest", "listen": "[::]:1", "peer": "[::1]:1", "memory": "16M",
                "host": self.letter, "arbiter": "etcd", "etcd_ttl_ms": TTL_MS,
                "arbiter_timeout_ms": 3000,
                "etcd_endpoints": endpoints.replace("ETCD", self.etcd_address), **settings}
        conf.write_text("".join(f"{key} = {value}\n" for key, value in keys.items()))
        self._new = queue.Queue()
        self.process = self.namespace.popen([HOST, conf], stdin=subprocess.PIPE,
                                            stdout=subprocess.PIPE, text=True, bufsize=1)
        threading.Thread(target=self._read, args=(self.process, self._new), daemon=True).start()
        assert self.next()[0] == "ready"

    def _read(self, process, new):
        for line in process.stdout:
            when, word, reason = line.rstrip("\n").split(" ", 2)
            self.answers.append((int(when), word, reason))
            new.put((word, reason))

    def tell(self, *words):
        self.process.stdin.write(" ".join(map(str, words)) + "\n")

    def next(self):
        """The next thing it says, which must come: (word, reason)."""
        return self._new.get(timeout=TIMEOUT_S)

    def expect(self, word, part=""):
        said = self.next()
        assert said[0] == word and part in said[1], said

    def has_won(self):
        """Asks again, and looks at the latest answer only."""
        self.tell("claim", 7)
        return [word for _, word, _ in self.answers][-1] == "won"

    def is_quiet(self):
        return self._new.empty()

    def claim(self, *words):
        self.tell("claim", *words)
        return self.next()

    def state(self):
        """Answers that come meanwhile are passed over."""
        self.tell("state")
        while True:
            word, reason = self.next()
            if word == "state":
                return reason

    def kill(self):
        """As when the host's power goes."""
        kill(self.process.pid)
        self.process.wait()
        self.answers.append((time.monotonic_ns() // 1000, "killed", ""))

    def stop(self):
        """Ends in order, with nothing more to say."""
        self.process.stdin.close()
        assert self.process.wait(timeout=TIMEOUT_S) in (0, -signal.SIGKILL)

    def cut(self):
        self.namespace.ip("link", "set", "etcd0", "down")
        self._etcd_namespace.ip("link", "set", self._device, "down")

    def mend(self):
        self.namespace.ip("link", "set", "etcd0", "up")
        self._etcd_namespace.ip("link", "set", self._device, "up")

    def beliefs(self, end):
        """When it believed itself alone, as (from, to) in microseconds."""
        since = None
        for when, word, _ in self.answers:
            if word == "won" and since is None:
                since = when
            elif word in ("hold", "lost", "unknown", "killed", "shares", "flushed") and since:
                yield since, when
                since = None
        if since:
            yield since, end

    def share(self, session):
        self.answers.append((time.monotonic_ns() // 1000, "shares", ""))
        self.tell("share", session)


class Rig:
    """Hosts a and b, and etcd in a third place that each reaches by a cable of its own."""

    _serial = 0

    def __init__(self, members=1, tls=None, **settings):
        Rig._serial += 1
        self._prefix = f"{PREFIX}{os.getpid()}-r{Rig._serial}"
        self.folder = make_folder()
        self._names = []
        self.namespace = Namespace(self.name("e"))
        self.settings = settings
        self.hosts = []
        self.etcd = Etcd(self.namespace, self.folder, members, "ETCD", tls)
        self.a, self.b = self.hosts = [ArbiterHost(self, "a", 1), ArbiterHost(self, "b", 2)]
        self.etcd.start()
        for host in self.hosts:
            host.start(self.etcd.endpoints, **settings)

    def name(self, letter):
        self._names.append(f"{self._prefix}-{letter}")
        return self._names[-1]

    def close(self):
        try:
            for host in self.hosts:
                host.stop()
        finally:
            for name in self._names:
                remove_namespace(name)

    def check_one_live(self):
        end = time.monotonic_ns() // 1000
        for from_a, to_a in self.a.beliefs(end):
            for from_b, to_b in self.b.beliefs(end):
                assert to_a <= from_b or to_b <= from_a, (self.a.answers, self.b.answers)

    def begin_shared(self, session=7):
        """The way to a pair of hosts that both have the guest."""
        assert self.a.claim(0, "fresh", "primary") == ("won", "")
        self.share(self.a, session)

    def share(self, host, session):
        host.share(session)
        wait_for("the owner to be shared", lambda: self.etcd.get(OWNER) == shared(session))
        wait_for("the share to be known", lambda: host.state() == "shared")

    def wait_for_lapse(self):
        wait_for("the lease to run out", lambda: self.etcd.get(LIVE) is None)


@pytest.fixture(name="rig")
def one_rig():
    rig = Rig()
    yield rig
    try:
        rig.check_one_live()
    finally:
        rig.close()


def test_a_start_wins_and_its_lease_is_kept(rig):
    assert rig.a.claim(0, "fresh", "primary") == ("won", "")
    assert rig.etcd.get(OWNER) == "host a" and rig.etcd.get(LIVE) == "a"
    time.sleep(2.5 * TTL_MS / 1000)
    assert rig.etcd.get(LIVE) == "a" and rig.a.is_quiet() and rig.a.state() == "holds"
    word, reason = rig.b.claim(0, "fresh", "primary")
    assert word == "lost" and "host a has the guest" in reason


def test_of_two_that_share_exactly_one_wins(rig):
    rig.begin_shared()
    assert rig.etcd.get(LIVE) is None
    for session in range(8, 28):
        rig.a.tell("claim", session - 1, "primary")
        rig.b.tell("claim", session - 1)
        answers = {host: host.next()[0] for host in rig.hosts}
        assert sorted(answers.values()) == ["lost", "won"], answers
        winner = next(host for host in rig.hosts if answers[host] == "won")
        rig.share(winner, session)


def test_a_replica_takes_over_from_a_dead_primary(rig):
    rig.begin_shared()
    rig.a.kill()
    assert rig.b.claim(7, "certain") == ("won", "")
    assert rig.etcd.get(OWNER) == "host b"


def test_a_replica_that_is_old_loses_for_ever(rig):
    rig.begin_shared()
    assert rig.a.claim(7, "primary") == ("won", "")
    rig.a.kill()
    assert rig.b.claim(7)[0] == "lost"
    rig.wait_for_lapse()
    assert rig.b.claim(7)[0] == "lost"
    word, reason = rig.b.claim(0, "fresh", "primary")
    assert word == "lost" and "host a has a newer guest" in reason
    word, reason = rig.b.claim(7, "certain")
    assert word == "unknown" and "--force" in reason
    assert rig.b.claim(0, "force") == ("won", "")


def test_force_waits_for_a_lease_and_does_not_break_it(rig):
    rig.begin_shared()
    assert rig.a.claim(7, "primary") == ("won", "")
    word, reason = rig.b.claim(0, "force")
    assert word == "unknown" and "the lease of host a" in reason
    rig.a.kill()
    assert rig.b.claim(0, "force") == ("won", "")


def test_a_daemon_that_comes_back_takes_what_is_its_own(rig):
    assert rig.a.claim(0, "fresh", "primary") == ("won", "")
    rig.a.kill()
    rig.a.start(rig.etcd.endpoints)
    assert rig.a.claim(0, "fresh", "primary") == ("won", "")


def test_who_ends_in_order_leaves_it_to_whoever_starts(rig):
    rig.begin_shared()
    assert rig.a.claim(7, "primary") == ("won", "")
    rig.a.tell("resign", 5000)
    rig.a.expect("flushed", "yes")
    assert rig.etcd.get(LIVE) is None and rig.etcd.get(OWNER) == "nobody"
    assert rig.b.claim(7)[0] == "lost"
    assert rig.b.claim(0, "fresh", "primary") == ("won", "")


def test_last_words_are_bounded(rig):
    assert rig.a.claim(0, "fresh", "primary") == ("won", "")
    rig.etcd.pause()
    rig.a.tell("resign", 300)
    rig.a.expect("flushed", "no")
    rig.etcd.resume()


def test_who_is_cut_off_from_etcd_holds_in_time_and_wins_back(rig):
    assert rig.a.claim(0, "fresh", "primary") == ("won", "")
    rig.a.cut()
    rig.a.expect("hold", "could not be renewed")
    assert rig.etcd.get(LIVE) == "a", "held before the lease ran out"
    rig.a.mend()
    rig.a.expect("won")
    rig.a.cut()
    rig.a.expect("hold")
    rig.wait_for_lapse()
    rig.a.mend()
    rig.a.expect("won")
    assert rig.etcd.get(LIVE) == "a"


def test_who_is_cut_off_loses_what_was_taken_by_force(rig):
    assert rig.a.claim(0, "fresh", "primary") == ("won", "")
    rig.a.cut()
    rig.a.expect("hold")
    rig.wait_for_lapse()
    assert rig.b.claim(0, "force") == ("won", "")
    rig.a.mend()
    rig.a.expect("lost", "host b")


@pytest.mark.parametrize("winner", ["a", "b"])
def test_the_host_that_reaches_etcd_wins(rig, winner):
    rig.begin_shared()
    hosts = {host.letter: host for host in rig.hosts}
    winner, loser = hosts.pop(winner), hosts.popitem()[1]
    loser.cut()
    loser.tell("claim", 7)
    assert winner.claim(7) == ("won", "")
    loser.expect("unknown", "etcd at http://")
    loser.mend()
    assert loser.claim(7)[0] == "lost"


def test_without_etcd_nobody_wins_until_it_is_back(rig):
    rig.begin_shared()
    rig.etcd.pause()
    for host in rig.hosts:
        host.tell("claim", 7)
    for host in rig.hosts:
        host.expect("unknown")
    rig.etcd.resume()
    for host in rig.hosts:
        host.tell("claim", 7)
    assert sorted(host.next()[0] for host in rig.hosts) == ["lost", "won"]


def test_a_claim_that_is_dropped_leaves_the_session_shared(rig):
    rig.begin_shared()
    rig.a.tell("claim", 7, "primary")
    rig.a.tell("drop")
    wait_for("the session to be shared", lambda: rig.etcd.get(OWNER) == shared(7))
    rig.etcd.pause()
    rig.a.tell("claim", 7, "primary")
    time.sleep(0.1)
    rig.a.tell("drop")
    rig.etcd.resume()
    rig.share(rig.a, 7)
    assert rig.b.claim(7) == ("won", "")


def test_a_restart_of_etcd_is_survived(rig):
    assert rig.a.claim(0, "fresh", "primary") == ("won", "")
    rig.etcd.restart()
    # Whether it held meanwhile depends on how long the restart took.
    wait_for("the lease to be renewed", lambda: rig.a.state() == "holds")
    assert rig.etcd.get(LIVE) == "a"
    rig.share(rig.a, 7)
    rig.etcd.restart()
    assert rig.b.claim(7) == ("won", "")


def test_etcd_that_has_lost_its_data_is_told_again_by_the_holder_only(rig):
    rig.begin_shared()
    rig.etcd.lose_data()
    word, reason = rig.b.claim(7)
    assert word == "unknown" and "its data was lost" in reason
    rig.share(rig.a, 7)
    assert rig.a.claim(7, "primary") == ("won", "")
    rig.etcd.lose_data()
    rig.a.expect("hold", "ended this host's lease")
    rig.a.expect("won")
    assert rig.etcd.get(OWNER) == "host a" and rig.etcd.get(LIVE) == "a"


def test_a_share_waits_for_etcd_and_nobody_else_wins_before(rig):
    assert rig.a.claim(0, "fresh", "primary") == ("won", "")
    rig.a.cut()
    rig.a.share(7)
    assert rig.b.claim(7)[0] == "lost"
    rig.wait_for_lapse()
    assert rig.b.claim(7)[0] == "lost"
    assert rig.a.is_quiet(), "output is committed: there is nothing to hold"
    rig.a.mend()
    wait_for("the session to be shared", lambda: rig.etcd.get(OWNER) == shared(7))
    assert rig.b.claim(7) == ("won", "")


def test_foreign_hands_in_etcd_are_survived(rig):
    rig.etcd.put(OWNER, "what is this? \x01" + "x" * 200)
    word, reason = rig.a.claim(0, "fresh", "primary")
    assert word == "unknown" and "makes no sense" in reason
    assert rig.a.claim(0, "force") == ("won", "")
    rig.etcd.put(LIVE, "somebody")  # without a lease
    word, reason = rig.b.claim(0, "force")
    assert word == "unknown" and "somebody" in reason


def test_members_that_hang_or_are_dead_are_passed_over():
    rig = Rig(members=3, etcd_ttl_ms=6000, arbiter_timeout_ms=6000)
    try:
        rig.begin_shared()
        for victim in rig.etcd.members[1:]:
            wait_for("etcd to answer", rig.etcd._answers)
            victim.pause()
            # One of the three may have led: the others take a moment.
            assert rig.a.claim(7, "primary") == ("won", "")
            rig.share(rig.a, 7)
            victim.resume()
        rig.etcd.members[1].kill()
        assert rig.b.claim(7) == ("won", "")
        rig.check_one_live()
    finally:
        rig.close()


def test_endpoints_that_are_not_there_cost_little():
    rig = Rig()
    try:
        rig.a.kill()
        rig.a.start("http://ETCD:1 http://10.8.99.99:2379 http://name.invalid:2379 http://ETCD:2379",
                    arbiter_timeout_ms=6000)
        assert rig.a.claim(0, "fresh", "primary") == ("won", "")
        time.sleep(2 * TTL_MS / 1000)
        assert rig.a.is_quiet()
        rig.a.kill()
        rig.a.start("http://name.invalid:2379")
        word, reason = rig.a.claim(0, "fresh", "primary")
        assert word == "unknown" and "name.invalid" in reason
    finally:
        rig.close()


class Relay:
    """What stands between a host and etcd: slow, deaf, or cut, at will."""

    def __init__(self, host):
        self._process = host.namespace.popen(
            [sys.executable, RELAY, "4000", host.etcd_address, "2379"], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True, bufsize=1)
        self.order("stats")

    def order(self, *words):
        self._process.stdin.write(" ".join(map(str, words)) + "\n")
        assert self._process.stdout.readline()


def test_slow_and_deaf_ways_to_etcd(rig):
    relay = Relay(rig.a)
    rig.a.kill()
    rig.a.start("http://127.0.0.1:4000")
    relay.order("delay", 50)
    assert rig.a.claim(0, "fresh", "primary") == ("won", "")
    time.sleep(2 * TTL_MS / 1000)
    assert rig.a.is_quiet(), "answers that take their time are answers"
    relay.order("stall")
    rig.a.expect("hold", "127.0.0.1:4000")
    assert rig.etcd.get(LIVE) == "a", "held before the lease ran out"
    relay.order("cut")
    relay.order("go")
    rig.a.expect("won")
    relay.order("stall")
    rig.a.share(7)
    rig.wait_for_lapse()
    relay.order("go")
    wait_for("the session to be shared", lambda: rig.etcd.get(OWNER) == shared(7))


def make_certificate(authority, folder, name, *addresses):
    folder.mkdir()
    key, cert, template = make_key(folder / "key"), folder / "cert.pem", folder / "cfg"
    template.write_text(f"cn = {name}\nsigning_key\ntls_www_server\ntls_www_client\n"
                        "expiration_days = 1\n"
                        + "".join(f"ip_address = {address}\n" for address in addresses))
    certtool("--generate-certificate", "--load-privkey", key,
             "--load-ca-certificate", authority.cert, "--load-ca-privkey", authority.key,
             "--template", template, "--outfile", cert)
    return str(cert), str(key)


def test_etcd_and_hosts_know_each_other_by_certificates(tmp_path):
    ours, strangers = Authority(tmp_path / "ours"), Authority(tmp_path / "strangers")
    server = make_certificate(ours, tmp_path / "server", "etcd", "10.8.1.2")
    cert, key = make_certificate(ours, tmp_path / "host", "a")
    rig = Rig(tls=(ours.cert, *server), etcd_cafile=ours.cert, etcd_certfile=cert,
              etcd_keyfile=key)
    try:
        assert rig.a.claim(0, "fresh", "primary") == ("won", "")
        # The certificate is not for the address that b must use.
        word, reason = rig.b.claim(0, "fresh", "primary")
        assert word == "unknown" and "https://10.8.2.2" in reason
        for settings in ({"etcd_cafile": strangers.cert, "etcd_certfile": cert,
                          "etcd_keyfile": key}, {"etcd_cafile": ours.cert}):
            rig.a.kill()
            rig.a.start(rig.etcd.endpoints, **settings)
            word, reason = rig.a.claim(0, "fresh", "primary")
            assert word == "unknown" and "https://10.8.1.2" in reason
    finally:
        rig.close()


def test_an_end_that_the_peer_cannot_hear_is_told_to_etcd(make_pair):
    pair = make_pair(peer_timeout_ms=500, recover_timeout_ms=5000)
    witness = Witness(pair)
    try:
        pair.start()
        wait_for("both to have the guest",
                 lambda: (witness.owner()[0] or "").startswith("shared "))
        session = witness.owner()[0].removeprefix("shared ")
        pair.network.cut()
        pair.a.wait_state("paused")
        pair.a.ctl("stop")
        assert pair.a.wait_exit() == 0
        assert witness.owner() == (f"ended {session}", None)
        assert pair.b.wait_exit() == 0
        assert "the guest was ended for good" in pair.b.log()
        assert not pair.b.console.ticks()
        pair.network.mend()
        pair.start()
        wait_for("both to have the new guest",
                 lambda: (witness.owner()[0] or "").startswith("shared "))
        assert witness.owner()[0] != f"shared {session}"
    finally:
        witness.close()


def test_random_cuts_and_pauses_never_make_two_live(rig):
    """Faults at random for a while, both hosts claiming whenever they are not live."""
    rig.begin_shared()
    end = time.monotonic() + (60 if os.environ.get("COLOD_TEST_FULL") else 8)
    seed = 1
    while time.monotonic() < end:
        seed = (seed * 1103515245 + 12345) & 0x7fffffff
        host = rig.hosts[seed >> 8 & 1]
        fault = seed >> 9 & 3
        if fault == 0:
            host.cut()
        elif fault == 1:
            host.mend()
        elif fault == 2:
            rig.etcd.pause()
        rig.a.tell("claim", 7, "primary")
        rig.b.tell("claim", 7)
        time.sleep((seed >> 16 & 15) / 100)
        rig.etcd.resume()
    for host in rig.hosts:
        host.mend()
    wait_for("one to win", lambda: any(host.has_won() for host in rig.hosts))

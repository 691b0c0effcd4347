# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest that is protected over encrypted connections, and who is kept out of them."""

import pytest

from faultylink import FaultyLink
from pair import COLOD, Guest
from tlsfiles import Authority, use_psk

LOAD = Guest(append="dirty=32,5 rate=1000")


def equip(pair, kind):
    if kind == "psk":
        use_psk(pair.a, pair.b)
    else:
        Authority(pair.folder / "ca").equip(pair.a, pair.b)


def switch_over(pair):
    pair.a.ctl("failover")
    pair.b.wait_status("the primary's role",
                       lambda s: s["role"] == "primary" and s["state"] == "colo")
    pair.a.wait_status("the secondary's role",
                       lambda s: s["role"] == "secondary" and s["state"] == "colo")


@pytest.mark.parametrize("kind,nics", [("psk", 1), ("x509", 0)])
def test_an_encrypted_pair_replicates_switches_and_fails_over(make_pair, kind, nics):
    """All kinds of connections, the packets' among them; roles change, the callers with them."""
    pair = make_pair(guest=LOAD, nics=nics)
    equip(pair, kind)
    pair.start()
    pair.a.wait_epoch(pair.a.status()["epoch"] + 3)
    pair.a.verify()
    switch_over(pair)
    pair.b.verify()
    since = len(pair.a.console.text())
    pair.b.kill_qemu()
    pair.a.wait_state("solo")
    pair.a.console.wait_ticks(10, since)
    # A new replica calls nobody and is called, with the same proofs.
    pair.b.terminate()
    pair.b.wait_exit()
    pair.b.start("secondary")
    pair.wait_protected()
    pair.a.verify()


def test_an_encrypted_link_that_is_cut_stalled_or_altered_goes_on(make_pair, rng, scale):
    """What is altered under way is not taken for the peer's: it breaks the link, and no more."""
    pair = make_pair(guest=LOAD, period_ms=20, peer_timeout_ms=400, recover_timeout_ms=600000)
    use_psk(pair.a, pair.b)
    link = FaultyLink(pair)
    pair.start()
    # The man in the middle cannot tell one channel from another: "?" is any.
    faults = [("cut",), ("stall",), ("damage", "?", 1), ("damage", "?", 3)]
    for i in range(scale(40, 2) * len(faults)):
        resumed = pair.a.status()["resumes"]["count"]
        link.order(*faults[i % len(faults)])
        pair.a.wait_status("a break", lambda s, n=resumed: (
            s["state"] != "colo" or s["resumes"]["count"] > n))
        link.order("go")
        pair.wait_protected()
        pair.a.wait_epoch(pair.a.status()["epoch"] + rng.randrange(2, 5))
    status = pair.a.status()
    assert status["role"] == "primary"
    assert status["checkpoints"]["by_trigger"]["first"] == 1, status
    pair.a.verify()
    pair.a.console.audit()
    pair.a.console.assert_sound()


def test_a_host_with_another_key_is_kept_out_and_both_logs_say_why(make_pair):
    pair = make_pair(guest=LOAD)
    use_psk(pair.a)
    use_psk(pair.b)
    pair.a.start("primary")
    pair.b.start("secondary")
    pair.wait_booted(pair.a)
    pair.a.wait_log("it refuses us")
    pair.b.wait_log("refused")
    assert pair.a.status()["state"] == "setup"
    assert not pair.a.status()["synced"]


def test_a_stranger_does_not_disturb_an_encrypted_pair(make_pair):
    """He speaks TLS, and has no key."""
    pair = make_pair(guest=LOAD)
    use_psk(pair.a, pair.b)
    pair.start()
    host, _, port = pair.b.config["listen"].rpartition(":")
    for words in (["--insecure"], ["--pskusername", "vm", "--pskkey", "00" * 32, "--priority",
                                   "NORMAL:-KX-ALL:+ECDHE-PSK:-VERS-ALL:+VERS-TLS1.3"]):
        said = pair.a.host.run(["gnutls-cli", host, "--port", port, *words], input="", timeout=60)
        assert said.returncode, said.stdout
    pair.a.wait_epoch(pair.a.status()["epoch"] + 3)
    pair.a.verify()
    assert pair.a.status()["state"] == pair.b.status()["state"] == "colo"


def run_colod(node, *arguments):
    node.config_path.write_text("".join(node.config_lines()))
    return node.host.run([COLOD, *arguments, "--config", node.config_path], timeout=60)


@pytest.mark.parametrize("arguments", ["--check-config", "--primary", "--secondary"])
def test_without_encryption_a_network_is_refused_before_the_guest_starts(make_pair, arguments):
    pair = make_pair()
    del pair.a.config["insecure"]
    done = run_colod(pair.a, arguments)
    assert done.returncode == 1
    assert "insecure = yes" in done.stderr and "tls = psk" in done.stderr
    assert pair.a.qemu_pid() is None


def test_a_key_file_that_others_can_read_is_refused_with_the_way_out(make_pair):
    pair = make_pair()
    use_psk(pair.a)
    path = pair.a.folder / "psk"
    path.chmod(0o644)
    done = run_colod(pair.a, "--check-config")
    assert done.returncode == 1 and f"chmod 600 {path}" in done.stderr
    path.chmod(0o600)
    assert run_colod(pair.a, "--check-config").returncode == 0

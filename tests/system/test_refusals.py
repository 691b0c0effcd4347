# SPDX-License-Identifier: GPL-2.0-or-later
"""What colod refuses to start with or to replicate: each time a reason that names the cause."""

import re
import subprocess

import pytest

from pair import COLOD, Guest
from waiting import TIMEOUT_S, wait_for
from witness import Witness

GOOD = {
    "listen": "127.0.0.1:7700",
    "peer": "127.0.0.1:7701",
    "memory": "128M",
}

# Settings that replace or extend GOOD, and what the message must contain.
BAD_CONFIGS = [
    ({"listen": None}, "listen"),
    ({"peer": None}, "peer"),
    ({"memory": None}, "memory"),
    ({"listen": "nowhere"}, "listen"),
    ({"listen": "127.0.0.1:99999"}, "listen"),
    ({"peer": "[fd77::1:7700"}, "peer"),
    ({"memory": "lots"}, "memory"),
    ({"memory": "1M"}, "memory"),
    ({"memory": "17T"}, "memory"),
    ({"memory": "134217729"}, "memory"),
    ({"memory": "33M", "memory_page_size": "2M"}, "memory"),
    ({"memory": "99999999999999999999"}, "memory"),
    ({"memory_page_size": "1G"}, "memory_page_size"),
    ({"dirty_tracking": "magic"}, "dirty_tracking"),
    ({"mode": "sometimes"}, "mode"),
    ({"period_ms": "-1"}, "period_ms"),
    ({"period_ms": "60001"}, "period_ms"),
    ({"period_ms": "soon"}, "period_ms"),
    ({"run_secondary": "perhaps"}, "run_secondary"),
    ({"bandwidth": "fast"}, "bandwidth"),
    ({"peer_timeout_ms": "99"}, "peer_timeout_ms"),
    ({"name": "a/b"}, "name"),
    ({"name": "x" * 33}, "name"),
    ({"log_level": "loud"}, "log_level"),
    ({"scan_threads": "17"}, "scan_threads"),
    ({"perid_ms": "100"}, "period_ms"),
    ({"colour": "blue"}, "colour"),
    ({"qemu": "/nonexistent/qemu"}, "/nonexistent/qemu"),
    ({"qemu_args": "-append 'unfinished"}, "qemu_args"),
    ({"control_group": "no-such-group-here"}, "no-such-group-here"),
]

# Arguments that collide with what colod adds, or that it cannot protect; and the word to name.
BAD_ARGS = [
    ("-m 512", "-m"),
    ("--m 512", "-m"),
    ("-machine q35,memory-backend=mine", "memory-backend"),
    ("-numa node", "-numa"),
    ("-S", "-S"),
    ("-incoming defer", "-incoming"),
    ("-loadvm old", "-loadvm"),
    ("-daemonize", "-daemonize"),
    ("-no-shutdown", "-no-shutdown"),
    ("-action shutdown=poweroff", "-action"),
    ("-overcommit mem-lock=off", "-overcommit"),
    ("-global migration.send-configuration=on", "migration"),
    ("-readconfig /dev/null", "-readconfig"),
    ("-preconfig", "-preconfig"),
    ("-mem-path /tmp", "-mem-path"),
    ("-mem-prealloc", "-mem-prealloc"),
    ("-object memory-backend-ram,id=more,size=1M", "memory-backend"),
    ("-object rng-random,id=colod-x", "colod-"),
    ("-chardev null,id=colod-x", "colod-"),
    ("-add-fd fd=3,set=1", "-add-fd"),
    ("-pflash /dev/null", "pflash"),
    ("-drive if=pflash,file=/dev/null", "pflash"),
    ("-device vhost-user-fs-pci,chardev=c", "vhost-user"),
    ("-device vfio-pci,host=00:01.0", "vfio"),
    ("-device virtio-balloon-pci", "balloon"),
    ("-device pc-dimm,memdev=m", "pc-dimm"),
    ("-object iothread,id=io", "iothread"),
    ("-device virtio-blk-pci,drive=d,iothread=io", "iothread"),
    ("-drive file=/dev/null,format=raw,if=none,id=d,cache=none", "cache"),
    ("-blockdev file,filename=/dev/null,node-name=d,cache.direct=on", "cache.direct"),
    ("-vga std", "-vga"),
]


def write_config(folder, settings):
    path = folder / "vm.conf"
    merged = {**GOOD, "runtime_dir": str(folder / "run"), **settings}
    path.write_text("".join(f"{k} = {v}\n" for k, v in merged.items() if v is not None))
    return path


@pytest.fixture
def colod(tmp_path):
    """Run colod with these settings until it ends; its exit code and its words."""
    def run(settings, role="--primary", text=None):
        path = write_config(tmp_path, settings)
        if text is not None:
            path.write_bytes(text)
        done = subprocess.run([COLOD, role, "--config", path], capture_output=True, text=True,
                              timeout=TIMEOUT_S, check=False)
        return done.returncode, done.stderr

    return run


@pytest.mark.parametrize("settings,named", BAD_CONFIGS, ids=str)
def test_a_bad_setting_is_named(colod, settings, named):
    code, words = colod(settings)
    assert code == 1
    assert named in words
    assert "Traceback" not in words and "Assertion" not in words


@pytest.mark.parametrize("text", [
    b"", b"listen\n", b"= value\n", b"\x00\xff\xfe = 1\n", b"a" * 100000,
    b"memory = 1G\nmemory = 1G\n", b"memory = 1G \\", b"[section]\n",
], ids=repr)
def test_a_file_that_is_no_configuration_is_refused_with_its_line(colod, tmp_path, text):
    code, words = colod({}, text=text)
    assert code == 1
    assert str(tmp_path / "vm.conf") in words


@pytest.mark.parametrize("arguments,named", BAD_ARGS, ids=str)
def test_an_argument_that_cannot_be_protected_is_named(colod, arguments, named):
    code, words = colod({"qemu_args": f"-machine q35 -nodefaults {arguments}"})
    assert code == 1
    assert named in words


@pytest.mark.core
@pytest.mark.parametrize("extra,named", [
    ("-device VGA", r"(?i)vga"),
    ("-drive file={disk},format=raw,if=virtio", r"replicated"),
    ("-drive file={disk},format=raw,if=none,id=d,cache.direct=on -device virtio-blk-pci,drive=d",
     r"direct"),
    ("-device no-such-device", r"exit status"),
])
def test_a_guest_that_cannot_be_replicated_is_refused_at_start(make_pair, tmp_path, extra, named):
    disk = tmp_path / "disk"
    disk.write_bytes(bytes(1 << 20))
    pair = make_pair(guest=Guest(extra=extra.format(disk=disk)))
    pair.a.start("primary")
    assert pair.a.wait_exit() == 1
    reasons = [line for line in pair.a.log().splitlines() if line.startswith("<3>")]
    assert len(reasons) == 1 and re.search(named, reasons[0]), reasons
    assert pair.a.qemu_pid() is None


def test_a_read_only_disk_is_accepted(make_pair, tmp_path):
    disk = tmp_path / "disk"
    disk.write_bytes(bytes(1 << 20))
    extra = f"-drive file={disk},format=raw,if=virtio,readonly=on"
    pair = make_pair(guest=Guest(extra=extra)).start()
    pair.a.verify()


def assert_refused_by_both(pair, words):
    """Both operators can read why, and the guest on the primary does not care."""
    pair.a.start("primary")
    pair.wait_booted(pair.a)
    pair.b.start("secondary")
    for node in (pair.a, pair.b):
        wait_for(f"the reason in the log of {node.folder.name}",
                 lambda node=node: re.search(words, node.log()))
    pair.a.console.wait_ticks(10)
    pair.a.assert_runs()
    assert not pair.a.status()["synced"]
    pair.a.wait_status("the reason", lambda s: re.search(words, s["last_error"] or ""))


def test_hosts_with_different_memory_sizes_refuse_each_other(make_pair):
    pair = make_pair()
    pair.b.config["memory"] = "256M"
    assert_refused_by_both(pair, r"memory")


def test_hosts_with_different_machine_types_refuse_each_other(make_pair):
    pair = make_pair(guest_b=Guest(machine="pc"))
    assert_refused_by_both(pair, r"machine type")


def test_hosts_with_different_arbiters_refuse_each_other(make_pair):
    pair = make_pair()
    pair.a.config.update(arbiter="exec", arbiter_command="true")
    pair.b.config.update(arbiter="none", arbiter_command=[])
    assert_refused_by_both(pair, r"the arbiter differs: ")


def test_hosts_that_are_one_to_the_arbiter_refuse_each_other(make_pair):
    pair = make_pair()
    witness = Witness(pair)
    try:
        for node in (pair.a, pair.b):
            node.config["host"] = "twin"
        assert_refused_by_both(pair, r"both hosts are called twin in etcd; set another host = ")
    finally:
        witness.close()


def test_hosts_whose_bridges_take_packets_of_other_sizes_refuse_each_other(make_pair):
    """Or the guest would send what one of them drops."""
    pair = make_pair(nics=1)
    pair.b.host.ip("link", "set", pair.network.guest_net.UPLINK, "mtu", "9000")
    assert_refused_by_both(pair, r"NICs differs: .*/9000.*MTU")


def test_two_primaries_refuse_each_other(make_pair):
    pair = make_pair()
    for node in (pair.a, pair.b):
        node.start("primary")
    for node in (pair.a, pair.b):
        pair.wait_booted(node)
        node.wait_status("the reason", lambda s: "primary" in (s.get("last_error") or ""))
        node.console.wait_ticks(10)
        assert node.status()["role"] == "primary"

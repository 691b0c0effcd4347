# SPDX-License-Identifier: GPL-2.0-or-later
"""What the demos share: words on the screen, colo-ctl as an operator uses it, the start."""

import subprocess
import sys

import pair as pairs

COLOUR = sys.stdout.isatty()


def say(text, style="1"):
    print(f"\033[{style}m{text}\033[0m" if COLOUR else text, flush=True)


def step(text):
    say(f"\n== {text}", "1;36")


def show(text, prefix="   "):
    for line in text.rstrip("\n").split("\n"):
        print(prefix + line, flush=True)


def show_table(rows):
    width = max(len(name) for name, _ in rows) + 2
    for name, value in rows:
        show(f"{name:{width}}{value}")


def milliseconds(us):
    return f"{us / 1000:.1f} ms"


def short_time(us):
    return milliseconds(us) if us >= 1000 else f"{us} us"


def ctl_lines(node, *words):
    """Run colo-ctl as an operator would, showing the command; its lines as they come."""
    command = [pairs.COLO_CTL, "--socket", node.socket_path, *words]
    say("   $ colo-ctl " + " ".join(words), "2")
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as proc:
        yield from proc.stdout
    if proc.returncode:
        raise SystemExit(f"colo-ctl {words[0]} failed with exit code {proc.returncode}")


def ctl(node, *words):
    for line in ctl_lines(node, *words):
        show(line)


def tail(node, since=0, lines=6):
    text = node.console.text(since).replace("\r", "")
    show("\n".join(text.rstrip().split("\n")[-lines:]), "   | ")


def boot(pair):
    step("Two hosts, each with colod and a stock QEMU; the guest boots on host a")
    for node in (pair.a, pair.b):
        show(f"host {node.folder.name}: namespace {node.host.netns}, address {node.host.v4}")
    pair.start()
    tail(pair.a)
    status = pair.a.status()
    megabytes = status["memory_bytes"] >> 20
    show(f"protected: QEMU {status['qemu']['version']}, {megabytes} MB of memory,"
         f" tracking by {status['tracking']}, mode {status['mode']}")

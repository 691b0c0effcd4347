# SPDX-License-Identifier: GPL-2.0-or-later
"""The cable with faults (linkrelay.py) between the hosts of a pair."""

import json
import pathlib
import subprocess

from waiting import wait_for

RELAY = pathlib.Path(__file__).resolve().parent / "linkrelay.py"
PORT = 7701


class FaultyLink:
    """Carries what host a, the primary, calls host b for."""

    def __init__(self, pair):
        host, port = pair.b.config["listen"].rsplit(":", 1)
        self.process = pair.network.a.popen(
            ["/usr/bin/python3", RELAY, PORT, host, port], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True)
        pair.a.config["peer"] = f"127.0.0.1:{PORT}"
        wait_for("the relay", lambda: self.order("stats") is not None)

    def order(self, *words):
        self.process.stdin.write(" ".join(map(str, words)) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

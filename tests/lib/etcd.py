# SPDX-License-Identifier: GPL-2.0-or-later
"""A private etcd in a network namespace, of one member or more: started, paused, killed, asked."""

import base64
import http.client
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess

from waiting import wait_for

PROGRAM = pathlib.Path(os.environ.get("COLOD_BUILD", "build")).resolve() / "etcd" / "etcd"


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a socket file: it reaches into a namespace without being there."""

    def __init__(self, path):
        super().__init__("localhost", timeout=5)
        self._path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def _b64(text):
    return base64.b64encode(text.encode()).decode()


class Member:
    """One etcd process of a cluster. Its files are in a folder of its own, its ports are free in the
    namespace: 2379 and 2380, the next member's 10 higher."""

    def __init__(self, namespace, folder, number=0, address="127.0.0.1", tls=None):
        self.namespace = namespace
        self.tls = tls
        self.name = f"etcd{number}"
        self.folder = pathlib.Path(folder) / self.name
        self.folder.mkdir()
        self.address = address
        self.client_port = 2379 + 10 * number
        self.peer_url = f"http://127.0.0.1:{2380 + 10 * number}"
        self.process = None

    @property
    def url(self):
        """What goes into etcd_endpoints."""
        return self._url(self.address)

    def _url(self, address):
        return f"{'https' if self.tls else 'http'}://{address}:{self.client_port}"

    def _tls_arguments(self):
        if not self.tls:
            return []
        ca, cert, key = self.tls
        return ["--trusted-ca-file", ca, "--cert-file", cert, "--key-file", key,
                "--client-cert-auth"]

    def start(self, cluster, state="new"):
        (self.folder / "local:1").unlink(missing_ok=True)
        with open(self.folder / "log", "ab") as log:
            self.process = self.namespace.popen(
                [PROGRAM, "--name", self.name, "--data-dir", self.folder / "data",
                 "--logger", "zap", "--log-level", "warn",
                 "--heartbeat-interval", "50", "--election-timeout", "500",
                 "--listen-client-urls", f"{self._url('0.0.0.0')},unix://local:1",
                 "--advertise-client-urls", self.url,
                 "--listen-peer-urls", self.peer_url,
                 "--initial-advertise-peer-urls", self.peer_url,
                 "--initial-cluster", ",".join(f"{m.name}={m.peer_url}" for m in cluster),
                 "--initial-cluster-state", state, *self._tls_arguments()],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder)

    def pause(self):
        self.process.send_signal(signal.SIGSTOP)

    def resume(self):
        self.process.send_signal(signal.SIGCONT)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def ask(self, path, body):
        """POST to the JSON gateway; the reply, or an exception."""
        connection = _UnixConnection(self.folder / "local:1")
        try:
            connection.request("POST", path, json.dumps(body))
            reply = connection.getresponse()
            text = reply.read()
            assert reply.status == 200, text
            return json.loads(text)
        finally:
            connection.close()


class Etcd:
    """A cluster in one namespace; @tls: (authority, certificate, key) of https, which asks for the
    clients' certificates."""

    def __init__(self, namespace, folder, members=1, address="127.0.0.1", tls=None):
        self.folder = pathlib.Path(folder)
        self.members = [Member(namespace, folder, n, address, tls) for n in range(members)]

    @property
    def endpoints(self):
        return " ".join(member.url for member in self.members)

    def start(self):
        for member in self.members:
            member.start(self.members)
        self.wait_until_it_answers()
        return self

    def wait_until_it_answers(self):
        wait_for("etcd to answer", lambda: self._answers())

    def _answers(self):
        try:
            self.get("/")
        except (OSError, http.client.HTTPException, AssertionError):
            return False
        return True

    def _ask(self, path, body):
        return self.members[0].ask(path, body)

    def get(self, key):
        """A key's value, None when it is absent."""
        found = self._ask("/v3/kv/range", {"key": _b64(key)}).get("kvs")
        return base64.b64decode(found[0].get("value", "")).decode() if found else None

    def put(self, key, value):
        self._ask("/v3/kv/put", {"key": _b64(key), "value": _b64(value)})

    def delete(self, key):
        self._ask("/v3/kv/deleterange", {"key": _b64(key)})

    def pause(self):
        for member in self.members:
            member.pause()

    def resume(self):
        for member in self.members:
            member.resume()

    def restart(self):
        """As after a crash: killed, and started again on its data."""
        self.kill()
        self.start()

    def lose_data(self):
        self.kill()
        for member in self.members:
            shutil.rmtree(member.folder / "data")
        self.start()

    def kill(self):
        for member in self.members:
            if member.process:
                member.kill()

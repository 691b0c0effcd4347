# SPDX-License-Identifier: GPL-2.0-or-later
"""As much of systemd as colod sees of it: what it is told, and the descriptors it keeps for a restart."""

import array
import os
import socket

# bash, since dash cannot name descriptors of two digits.
START = """i=3
for fd in $KEPT; do eval "exec $i<&$fd"; i=$((i + 1)); done
LISTEN_PID=$$ exec "$@" """


class ServiceManager:
    """sd_notify(3) and the descriptor store (FDSTORE) of one service."""

    def __init__(self, folder):
        self.path = folder / "notify"
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.bind(str(self.path))
        self.store, self.told = {}, []

    def read(self):
        """Take what colod has said since."""
        while True:
            try:
                text, ancillary, _, _ = self.sock.recvmsg(4096, 4096, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return self
            fds = array.array("i")
            for _, _, data in ancillary:
                fds.frombytes(data)
            self.take(dict(line.split("=", 1) for line in text.decode().split("\n") if line), fds)

    def take(self, message, fds):
        self.told.append(message)
        name = message.get("FDNAME")
        if "FDSTORE" in message:
            assert message["FDPOLL"] == "0" and len(fds) == 1, message
            self.forget(name)
            self.store[name] = fds[0]
        elif "FDSTOREREMOVE" in message:
            self.forget(name)

    def forget(self, name):
        if name in self.store:
            os.close(self.store.pop(name))

    def started(self):
        """How often the service has said that it is ready."""
        return sum("READY" in message for message in self.read().told)

    def popen(self, host, argv, **kwargs):
        """Start the service with what is kept for it."""
        names, fds = list(self.store), list(self.store.values())
        env = dict(os.environ, NOTIFY_SOCKET=str(self.path), LISTEN_FDS=str(len(fds)),
                   LISTEN_FDNAMES=":".join(names), KEPT=" ".join(map(str, fds)))
        return host.popen(["bash", "-c", START, "service", *argv], env=env, pass_fds=fds, **kwargs)

    def close(self):
        for name in list(self.store):
            self.forget(name)
        self.sock.close()

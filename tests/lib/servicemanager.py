# SPDX-License-Identifier: GPL-2.0-or-later
"""As much of systemd as colod sees of it: what it is told, and the descriptors it keeps for a restart."""

import array
import os
import socket
import threading

# bash, since dash cannot name descriptors of two digits.
START = """i=3
for fd in $KEPT; do eval "exec $i<&$fd $fd<&-"; i=$((i + 1)); done
LISTEN_PID=$$ exec "$@" """


class ServiceManager:
    """sd_notify(3) and the descriptor store (FDSTORE) of one service."""

    def __init__(self, folder):
        self.path = folder / "notify"
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.bind(str(self.path))
        self.store, self.told = {}, []
        self.thread = threading.Thread(target=self.listen, daemon=True)
        self.thread.start()

    def listen(self):
        while True:
            text, ancillary, _, _ = self.sock.recvmsg(4096, 4096)
            fds = array.array("i")
            for _, _, data in ancillary:
                fds.frombytes(data)
            message = dict(line.split("=", 1) for line in text.decode().split("\n") if line)
            if "END" in message:
                return
            self.take(message, fds)

    def take(self, message, fds):
        self.told.append(message)
        name = message.get("FDNAME")
        if message.get("FDSTORE") and message.get("FDPOLL") == "0":
            self.forget(name)
            self.store[name] = fds.pop()
        elif "FDSTOREREMOVE" in message:
            self.forget(name)
        for fd in fds:  # that of a barrier: everything before it is done
            os.close(fd)

    def forget(self, name):
        if name in self.store:
            os.close(self.store.pop(name))

    def started(self):
        """How often the service has said that it is ready."""
        return sum("READY" in message for message in self.told)

    def popen(self, host, argv, **kwargs):
        """Start the service with what is kept for it."""
        names, fds = list(self.store), list(self.store.values())
        env = dict(os.environ, NOTIFY_SOCKET=str(self.path), LISTEN_FDS=str(len(fds)),
                   LISTEN_FDNAMES=":".join(names), KEPT=" ".join(map(str, fds)))
        return host.popen(["bash", "-c", START, "service", *argv], env=env, pass_fds=fds, **kwargs)

    def close(self):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
            end.sendto(b"END=1", str(self.path))
        self.thread.join()
        for name in list(self.store):
            self.forget(name)
        self.sock.close()

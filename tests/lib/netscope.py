# SPDX-License-Identifier: GPL-2.0-or-later
"""Sockets of this process in another network namespace."""

import ctypes
import os
import threading

from network import NAMESPACES

_libc = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNET = 0x40000000


def _enter(netns):
    fd = os.open(NAMESPACES / netns, os.O_RDONLY)
    try:
        if _libc.setns(fd, CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns", netns)
    finally:
        os.close(fd)


def run_in(namespace, act):
    """Return what act() returns, called in the namespace: a socket made there stays there.

    setns(2) moves one thread only, so it gets a thread that ends afterwards.
    """
    outcome = {}

    def run():
        try:
            _enter(namespace.netns)
            outcome["value"] = act()
        except BaseException as error:  # pylint: disable=broad-except
            outcome["error"] = error

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if "error" in outcome:
        raise outcome["error"]
    return outcome["value"]

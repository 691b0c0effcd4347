# SPDX-License-Identifier: GPL-2.0-or-later
"""Whether a process lives, and its end."""

import os
import pathlib
import signal


def alive(pid):
    """Whether the process runs (a zombie does not)."""
    try:
        stat = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] not in ("Z", "X")


def kill(pid):
    """SIGKILL; a process that is already gone is no error."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass

# SPDX-License-Identifier: GPL-2.0-or-later
"""Waiting for conditions: the only way in which tests let time pass."""

import time

# Generous: the bound only decides how long a failing test takes.
TIMEOUT_S = 180


def wait_for(what, condition, timeout=TIMEOUT_S, interval=0.02):
    """Return the first true value of condition(); after timeout seconds fail, naming what."""
    end = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"waited {timeout} s in vain for {what}")
        time.sleep(interval)

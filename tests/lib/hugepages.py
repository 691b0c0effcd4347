# SPDX-License-Identifier: GPL-2.0-or-later
"""Reserving 2 MB pages for a test, and giving them back."""

import contextlib
import pathlib

RESERVED = pathlib.Path("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages")
FREE = RESERVED.with_name("free_hugepages")


@contextlib.contextmanager
def reserved(count):
    """Have count free huge pages inside the block; the system's number is put back after it."""
    before = int(RESERVED.read_text())
    lacking = max(0, count - int(FREE.read_text()))
    try:
        RESERVED.write_text(str(before + lacking))
        free = int(FREE.read_text())
        assert free >= count, f"only {free} of {count} huge pages could be reserved"
        yield
    finally:
        RESERVED.write_text(str(before))

# SPDX-License-Identifier: GPL-2.0-or-later
"""Fixtures of the system tests: pairs that are always cleaned up, logs of failed tests."""

import os
import pathlib
import random
import signal
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))

import network  # noqa: E402
import pair as pairs  # noqa: E402

FULL = os.environ.get("COLOD_TEST_FULL") == "1"


def pytest_configure(config):
    config.addinivalue_line("markers", "core: run with each QEMU version")


def pytest_sessionstart(session):
    # A terminated run ends like an interrupted one: fixtures clean up.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    network.sweep()
    if pairs.missing_files():
        pytest.exit(f"not built: {', '.join(pairs.missing_files())}; run make check-system", 2)


def chooses_qemu(definition):
    return any("qemu" in mark.args[0] for mark in definition.iter_markers("parametrize"))


def pytest_generate_tests(metafunc):
    if "qemu" in metafunc.fixturenames and not chooses_qemu(metafunc.definition):
        core = metafunc.definition.get_closest_marker("core")
        metafunc.parametrize("qemu", list(pairs.QEMUS) if core else ["system"], indirect=True)


def modes_of(item):
    found = [mark.args[1] for mark in item.iter_markers("parametrize") if mark.args[0] == "mode"]
    return found[0] if found else None


def pytest_collection_modifyitems(config, items):
    """Of a test for each mode the sample has one; from test to test it is the next one's turn."""
    if FULL or config.getoption("keyword"):
        return
    turns = {}
    for item in items:
        if modes_of(item):
            turns.setdefault((item.path, item.originalname), len(turns))

    def in_sample(item):
        modes = modes_of(item)
        turn = turns.get((item.path, item.originalname))
        return not modes or item.callspec.params["mode"] == modes[turn % len(modes)]

    left = [item for item in items if not in_sample(item)]
    items[:] = [item for item in items if in_sample(item)]
    config.hook.pytest_deselected(items=left)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    if report.failed:
        for pair in getattr(item, "colod_pairs", []):
            report.sections.extend(pair.dump())


@pytest.fixture
def qemu(request):
    return pairs.QEMUS[request.param]


@pytest.fixture
def make_pair(request, qemu):
    """A function that makes a pair; whatever happens, nothing of it outlives the test."""
    made = []
    request.node.colod_pairs = made

    def make(**kwargs):
        made.append(pairs.Pair(qemu=qemu, **kwargs))
        return made[-1]

    yield make
    for pair in made:
        pair.close()


@pytest.fixture
def scale():
    """Choose the full count of a long run or the fair sample of a short one."""
    return lambda full, sample: full if FULL else sample


@pytest.fixture
def rng():
    """Random choices that a failed run names, so that they can be made again."""
    seed = int(os.environ.get("COLOD_TEST_SEED") or random.SystemRandom().randrange(1 << 32))
    print(f"COLOD_TEST_SEED={seed}")
    return random.Random(seed)

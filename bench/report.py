#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The figures of build/bench/*.jsonl as tables for a terminal, and how they stand to the targets.

usage: bench/report.py    COLOD_BUILD names the build folder
"""

import os
import pathlib
import platform
import re
import sys

sys.dont_write_bytecode = True

import figures  # noqa: E402

FOLDER = pathlib.Path(os.environ.get("COLOD_BUILD", "build")) / "bench"
MB = 1 << 20
PAGE_BYTES = 4096
OWN_MEMORY_MB = 32
VARIANTS = ("plain", "twins", "colo", "periodic", "auto")
REASONS = ("payload", "flags", "timeout")
OTHER_REASONS = ("length", "full", "flows", "lost", "unseen")
PARTS = ("stop", "scan", "copy", "save", "cont", "rest")
BACK_TO_BACK = ", back to back"
# Targets: rates of colo as shares of plain, of mode auto as such, and gaps in ms.
GET = "httpd GET 1 KB, 1/s"
RATIOS = {"UDP echo, 64 bytes, 1/s": 0.75, "TCP echo, one connection, 1/s": 0.75,
          "connect, echo, close, 1/s": 0.7, GET: 0.6, "bulk download 10 MB, MB/s": 0.7}
DIFFERS = {"UDP echo, answers differ, 1/s": 250, "TCP echo, answers differ, 1/s": 250}
GAPS = {"killed: UDP echo every 5 ms": {"p50": 20}, "killed: TCP echo every 5 ms": {"p50": 10, "p99": 50},
        "host silent: UDP echo every 5 ms": {"p50": 520},
        "host silent: TCP echo every 5 ms": {"p50": 510, "p99": 550}}
SCAN_CASE = re.compile(r"(\S+) (\d+)GB (2M|4K)-pages (\d+)-threads 0-dirty")


def ms(us):
    return f"{us / 1000:.2f}"


def mb(count):
    return f"{count / MB:.0f}"


def table(title, head, rows):
    """Columns as wide as they need to be; the first to the left, the others to the right."""
    if not rows:
        return
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    print(f"\n{title}")
    for row in [head, *rows]:
        first, *others = (cell.rjust(w) for cell, w in zip(row, widths))
        print("  " + "  ".join([row[0].ljust(widths[0]), *others]).rstrip())


def checkpoints(ckpt):
    rows = []
    for case, m in ckpt.items():
        pause, commit = m["pause"], m["commit"]
        rows.append([case, str(pause["n"]), ms(pause["p50"]), ms(pause["p99"]), ms(pause["max"]),
                     ms(commit["p50"]), ms(commit["p99"]), f"{m['rate']['p50']:.1f}",
                     f"{m['dirty']['p50'] * PAGE_BYTES / MB:.1f}",
                     f"{m['sent']['p50'] / MB:.1f}"])
    table("Checkpoints of a 1 GB guest; pause and commit in ms",
          ["dirtied", "n", "pause p50", "p99", "max", "commit p50", "p99", "per second",
           "MB written", "MB sent"], rows)


def pause_parts(ckpt):
    rows = [[case, *(f"{ms(m[part]['p50'])} {ms(m[part]['p99'])}" for part in PARTS),
             str(m["last"]["p50"])] for case, m in ckpt.items()]
    table("Where a pause goes, ms, p50 and p99 (scan + copy run beside save; rest: hand-overs)",
          ["dirtied", *PARTS, "pages copied"], rows)


def memory(ckpt):
    rows = []
    for case, m in ckpt.items():
        if "dirty_set" in m:
            rows.append([case, mb(m["dirty_set"]["max"]),
                         *(mb(m[key]["max"]) for key in
                           ("memory_primary", "memory_overhead_primary",
                            "memory_secondary", "memory_overhead_secondary"))])
    table("colod's own memory (RssAnon), MB, and how much more it is than it must hold",
          ["dirtied", "dirty set", "primary", "- dirty set", "secondary", "- RAM, dirty set"],
          rows)


def scan_times(scan):
    """{(kind of pages, threads): {GB: p50 in us}} of clean memory."""
    found = {}
    for case, m in scan.items():
        match = SCAN_CASE.fullmatch(case)
        if match:
            found.setdefault((match[3], int(match[4])), {})[int(match[2])] = m["scan"]["p50"]
    return found


def scans(scan):
    found = scan_times(scan)
    sizes = sorted({gb for by_size in found.values() for gb in by_size})
    rows = [[f"{pages} pages, {threads} thread{'s' if threads > 1 else ''}",
             *(ms(by_size[gb]) if gb in by_size else "-" for gb in sizes)]
            for (pages, threads), by_size in sorted(found.items(), reverse=True)]
    table("One scan of clean guest RAM, ms, p50", ["", *(f"{gb} GB" for gb in sizes)], rows)


def compared(compare):
    rows = [[case, f"{m['packets']['p50']:.2f}", f"{m['bytes']['p50']:.1f}"]
            for case, m in compare.items()]
    table("The comparing core alone, on one CPU, p50", ["", "M packets/s", "Gbit/s"], rows)


def encrypted(tls):
    plain = tls.get("plain")
    if not plain:
        return
    rows = [[case, *(cell for metric in ("stream", "cpu", "echo", "connect")
                     for cell in (str(m[metric]["p50"]),
                                  f"{m[metric]['p50'] / plain[metric]['p50']:.2f}"))]
            for case, m in tls.items()]
    table("Encryption: one connection, both ends here, p50, and of plain",
          ["", "stream MB/s", "", "CPU ms/GB", "", "echo us", "", "connect us", ""], rows)


def rates(title, net):
    """One row a case, a group of columns for each variant, the guest without colod first."""
    by_case = {}
    for name, m in net.items():
        variant, _, case = name.partition(": ")
        if "rate" in m:
            by_case.setdefault(case, {})[variant] = {key: m[key]["p50"] for key in m}
    variants = [v for v in VARIANTS if any(v in found for found in by_case.values())]
    rows = [[case, *(cell for v in variants for cell in rate_cells(found, v))]
            for case, found in by_case.items()]
    head = [column for v in variants for column in (v, *["of plain"][v == "plain":], "p50", "p99")]
    table(f"{title}; p50 and p99 of an answer's time in ms", ["", *head], rows)


def rate_cells(found, variant):
    m, plain = found.get(variant), found.get("plain")
    if m is None:
        return ["-"] * (3 if variant == "plain" else 4)
    ratio = [f"{m['rate'] / plain['rate']:.3f}" if plain and plain["rate"] else "-"]
    return [f"{m['rate']:.1f}", *ratio[variant == "plain":], ms(m["p50"]), ms(m["p99"])]


def kills(net):
    rows = [[name.partition(": ")[2], str(m["gap"]["n"]),
             *(f"{m['gap'][key]:.1f}" for key in ("p50", "p99", "max"))]
            for name, m in net.items() if "gap" in m]
    table("The longest time without an answer around the loss of the primary, ms",
          ["", "n", "p50", "p99", "max"], rows)


def count(m, metric):
    return m[metric]["p50"] if metric in m else 0


def mismatches(services):
    """What comparing made of each service, and where auto was in the end; words: services.txt."""
    rows = []
    for name, m in services.items():
        if "checkpoints" not in m or name.startswith("periodic"):
            continue
        ended = "-" if "colo" not in m else ("periodic", "colo")[count(m, "colo")]
        rows.append([name, *(str(count(m, key)) for key in
                             ("ops", "by match", "by commit", "checkpoints", *REASONS)),
                     str(sum(count(m, key) for key in OTHER_REASONS)), ended,
                     str(count(m, "switches"))])
    table("Real services: packets let out, forced checkpoints, mismatches by reason, auto's mode",
          ["", "ops", "by match", "by commit", "forced", *REASONS, "other", "auto in",
           "changes"], rows)


class Verdicts:
    """The closing block; a missed target is reported, it is no failure of the bench."""

    def __init__(self):
        print("\nTargets")

    def at_most(self, what, got, bound, unit):
        verdict = "PASS " if got <= bound else "SHORT"
        print(f"  {verdict}  {what}: {got:.4g} {unit}, at most {bound:.4g}")

    def at_least(self, what, got, bound, unit):
        verdict = "PASS " if got >= bound else "SHORT"
        print(f"  {verdict}  {what}: {got:.4g} {unit}, at least {bound:.4g}")

    def unknown(self, what):
        print(f"  ?      {what}: not measured")


def judge_pause(v, ckpt):
    idle, twenty, hundred = (ckpt.get(case) for case in
                             ("idle", "20 MB per 100 ms", "100 MB per 100 ms"))
    if twenty:
        v.at_most("pause p50 at 20 MB per 100 ms", twenty["pause"]["p50"] / 1000, 2, "ms")
        v.at_most("pause p99 at 20 MB per 100 ms", twenty["pause"]["p99"] / 1000, 5, "ms")
    else:
        v.unknown("pause at 20 MB per 100 ms")
    if idle and hundred:
        v.at_most("pause p50 at 100 MB per 100 ms, twice the idle one",
                  hundred["pause"]["p50"] / 1000, 2 * idle["pause"]["p50"] / 1000, "ms")
    else:
        v.unknown("pause at 100 MB per 100 ms")


def judge_load(v, ckpt):
    """The dirtier and the period must have kept up, or a row is not what its name says."""
    for case, m in ckpt.items():
        wanted = re.match(r"(\d+) MB", case)
        if wanted:
            v.at_least(f"{case}: written per epoch, median",
                       m["dirty"]["p50"] * PAGE_BYTES / MB, 0.9 * int(wanted[1]), "MB")
            v.at_least(f"{case}: checkpoints", m["rate"]["p50"], 9, "per second")


def judge_rest(v, ckpt, scan):
    flat_out = ckpt.get("idle" + BACK_TO_BACK)
    if flat_out:
        v.at_least("checkpoints of an idle guest", flat_out["rate"]["p50"], 100, "per second")
    else:
        v.unknown("checkpoints of an idle guest")
    for role in ("primary", "secondary"):
        over = [m[key]["max"] for m in ckpt.values() for key in [f"memory_overhead_{role}"]
                if key in m]
        what = f"memory of the {role}'s colod beyond what it must hold"
        if over:
            v.at_most(what, max(over) / MB, OWN_MEMORY_MB, "MB")
        else:
            v.unknown(what)
    by_size = scan_times(scan).get(("4K", 1), {})
    for gb, us in sorted(by_size.items()):
        v.at_most(f"scan of {gb} GB by one thread", us / 1000, gb, "ms")
    if not by_size:
        v.unknown("scan of guest RAM")


def judge_net(v, net):
    plain, colo, auto = ({case: net.get(f"{name}: {case}") for case in RATIOS | DIFFERS}
                         for name in ("plain", "colo", "auto"))
    for case, ratio in RATIOS.items():
        if plain[case] and colo[case]:
            v.at_least(f"{case[:-5]}, of plain", colo[case]["rate"]["p50"] /
                       plain[case]["rate"]["p50"], ratio, "")
        else:
            v.unknown(case)
    if plain[GET] and colo[GET]:
        v.at_most(f"{GET[:-5]}, p99", colo[GET]["p99"]["p50"] / 1000,
                  plain[GET]["p99"]["p50"] / 1000 + 2, "ms")
    for case, rate in DIFFERS.items():
        if auto[case]:
            v.at_least(f"{case[:-5]}, mode auto", auto[case]["rate"]["p50"], rate, "per second")
    for case, bounds in GAPS.items():
        m = net.get(f"kill: {case}")
        for key, bound in bounds.items():
            if m:
                v.at_most(f"gap, {case}, {key}", m["gap"][key], bound, "ms")


def judge_compare(v, compare):
    for size, metric, bound, unit in (("64-byte", "packets", 2, "M/s"),
                                      ("64 KB", "bytes", 20, "Gbit/s")):
        found = [m[metric]["p50"] for case, m in compare.items()
                 if case.startswith(size) and "periodic" not in case]
        if found:
            v.at_least(f"comparing core, {size}, slowest case", min(found), bound, unit)
        else:
            v.unknown(f"comparing core, {size}")


def host():
    cpu = re.search(r"^model name\s*:\s*(.*)$", pathlib.Path("/proc/cpuinfo").read_text(), re.M)
    load = os.getloadavg()[0]
    print(f"{cpu[1] if cpu else platform.machine()}, {os.cpu_count()} CPUs, "
          f"Linux {platform.release()}, TCG, load average at the end {load:.1f}")


def main():
    ckpt, scan, compare, tls, net, services = (
        figures.read(FOLDER / f"{name}.jsonl")
        for name in ("ckpt", "scan", "compare", "tls", "net", "services"))
    if not (ckpt or scan or compare or tls or net or services):
        raise SystemExit(f"report: no figures in {FOLDER}; run make bench")
    host()
    checkpoints(ckpt)
    pause_parts(ckpt)
    memory(ckpt)
    scans(scan)
    compared(compare)
    encrypted(tls)
    rates("What one client of a guest sees", net)
    kills(net)
    rates("What clients of real services see, operations a second", services)
    mismatches(services)
    v = Verdicts()
    judge_pause(v, ckpt)
    judge_rest(v, ckpt, scan)
    judge_load(v, ckpt)
    judge_compare(v, compare)
    judge_net(v, net)


if __name__ == "__main__":
    main()

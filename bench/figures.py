# SPDX-License-Identifier: GPL-2.0-or-later
"""The figures of a bench as JSON lines: one object per case and metric."""

import json


def quantile(ordered, percent):
    """One of the sorted values, never one between two: the same rule as in base/quantile.c."""
    return ordered[(len(ordered) - 1) * percent // 100]


class Writer:
    """Writes build/bench/NAME.jsonl afresh; each line is on disk as soon as it is known."""

    def __init__(self, path, bench):
        self.path, self.bench = path, bench
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")

    def write(self, case, metric, unit, values):
        """Values measured one by one, or the only one (n is 1)."""
        ordered = sorted(values)
        line = {"bench": self.bench, "case": case, "metric": metric, "unit": unit,
                "n": len(ordered), "p50": quantile(ordered, 50), "p99": quantile(ordered, 99),
                "max": ordered[-1]}
        with open(self.path, "a", encoding="ascii") as out:
            out.write(json.dumps(line) + "\n")


def read(path):
    """{case: {metric: line}} in the order of the file; empty when the bench did not run."""
    cases = {}
    if path.exists():
        for text in path.read_text().splitlines():
            line = json.loads(text)
            cases.setdefault(line["case"], {})[line["metric"]] = line
    return cases

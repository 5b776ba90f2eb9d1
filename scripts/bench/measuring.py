"""How everything is measured: how often, for how long, on which cores. scripts/bench.sh says it, by its variables."""

import os
import sys
import time
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

from harness.paths import ROOT

ROUNDS = int(os.environ["BENCH_ROUNDS"])
SECONDS = int(os.environ.get("BENCH_SECONDS", "2"))
# What is measured has one core to itself; load, upstream and store share the others.
MEASURED_CORES = {min(os.sched_getaffinity(0))}
OTHER_CORES = os.sched_getaffinity(0) - MEASURED_CORES or MEASURED_CORES
# What scripts/bench.sh built.
BUILDS = ROOT / "target/bench"
# Where the page, tables and pictures go.
DOCS = Path(os.environ.get("BENCH_DOCS", ROOT / "docs"))


@contextmanager
def on_cores(cores: set[int]):
    """What is started in here runs on these cores only, and sizes its thread pools by them."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def rounds(cases: list[tuple], measure: Callable, count: int = ROUNDS) -> dict[tuple, list]:
    """Measures every case once in each round, each round beginning with another case; says how far it is."""
    results = {case: [] for case in cases}
    begun, done = time.monotonic(), 0
    for turn in range(count):
        start = turn % len(cases)
        for case in cases[start:] + cases[:start]:
            results[case].append(measure(*case))
            done += 1
            left = (time.monotonic() - begun) / done * (count * len(cases) - done)
            name = ", ".join(str(part) for part in case)
            print(f"  round {turn + 1} of {count}, {left:4.0f} s left: {name}", file=sys.stderr)
    return results

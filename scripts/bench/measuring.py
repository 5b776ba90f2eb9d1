"""How everything is measured: how often, for how long, on which cores. scripts/bench.sh says it, by its variables."""

import os
from collections.abc import Callable

from harness.paths import ROOT

ROUNDS = int(os.environ["BENCH_ROUNDS"])
SECONDS = int(os.environ["BENCH_SECONDS"])
# What is measured has one core to itself; load, upstream and store share the others.
MEASURED_CORES = {min(os.sched_getaffinity(0))}
OTHER_CORES = os.sched_getaffinity(0) - MEASURED_CORES or MEASURED_CORES
# What scripts/bench.sh built.
BUILDS = ROOT / "target/bench"


def rounds(cases: list[tuple], measure: Callable, count: int = ROUNDS) -> dict[tuple, list]:
    """Measures every case once in each round, each round beginning with another case."""
    results = {case: [] for case in cases}
    for turn in range(count):
        start = turn % len(cases)
        for case in cases[start:] + cases[:start]:
            results[case].append(measure(*case))
    return results

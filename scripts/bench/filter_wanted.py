"""What is wanted of the filter, beside what was measured."""

import figures
from contender import KIB, Sample
from filter.attachments import NATIVE, PAIR
from filter_ways import MIB, NONE, REPLACED

# By body, the least share of the plain Envoy's requests at 16 connections.
SHARES = {NATIVE: {KIB: 0.90, 16 * KIB: 0.75, 256 * KIB: 0.40}, PAIR: {KIB: 0.75, 16 * KIB: 0.45, 256 * KIB: 0.18}}
# At 1 connection, in microseconds.
ADDED_CPU = {KIB: 20, 16 * KIB: 35, 256 * KIB: 240}
# Against the replaced chain.
LATENCY = {NATIVE: 1 / 20, PAIR: 1 / 8}
TIMES_SERVED = {NATIVE: 8, PAIR: 5}
HASHED_GB = 1.2
Results = dict[tuple, list[Sample]]


def table(results: Results) -> str:
    lines = ["### What is wanted of it", "", figures.head("what", "way", "measured", "wanted")]
    for way in (NATIVE, PAIR):
        lines += _against_chain(results, way) + _against_none(results, way)
    return "\n".join([*lines, *_cpu(results)])


def _against_chain(results: Results, way: str) -> list[str]:
    own, chain = (figures.added(results[name, KIB, 1], results[NONE, KIB, 1], "p50_us") for name in (way, REPLACED))
    served = figures.ratio(results[way, 16 * KIB, 16], results[REPLACED, 16 * KIB, 16], "per_second")
    return [
        figures.row("added latency at 1 KiB, 1 connection, of the replaced chain's", way, f"{own / chain:.3f}", f"≤ {LATENCY[way]:.3f}"),
        figures.row("requests/s at 16 KiB, 16 connections, against the replaced chain", way, f"{served:.1f}×", f"≥ {TIMES_SERVED[way]}×"),
    ]


def _against_none(results: Results, way: str) -> list[str]:
    return [
        figures.row(
            f"requests/s at {body // KIB} KiB, 16 connections, of none",
            way,
            f"{figures.ratio(results[way, body, 16], results[NONE, body, 16], 'per_second'):.2f}",
            f"≥ {share:.2f}",
        )
        for body, share in SHARES[way].items()
    ]


def _cpu(results: Results) -> list[str]:
    spent = {body: figures.added(results[NATIVE, body, 1], results[NONE, body, 1], "processor_us") for body in (*ADDED_CPU, MIB)}
    lines = [
        figures.row(f"added CPU at {body // KIB} KiB", NATIVE, f"{spent[body]:.0f} µs", f"≤ {most} µs") for body, most in ADDED_CPU.items()
    ]
    speed = MIB / spent[MIB] / 1000
    return [*lines, figures.row("hashing at 1 MiB, by its added CPU", NATIVE, f"{speed:.2f} GB/s", f"≥ {HASHED_GB} GB/s")]

"""Measures how time and memory grow; prints Markdown with a curve for each, and the exponent that fits it."""

import sys

import figures
import plot
from contender import Sample, measure
from growth_curves import SHORT, USUAL_KEYS, Case, running
from measuring import ROUNDS, SECONDS, rounds

# By name: what grows, and the figure that the picture shows.
CURVES = {
    "inputs, base64": ("inputs in a request", "p50_us"),
    "inputs, float": ("inputs in a request", "p50_us"),
    "keys": ("distinct inputs in memory", "p50_us"),
    "connections": ("connections", "p50_us"),
    "bodies": ("bytes of a request", "p50_us"),
    "replicas": ("replicas", "p50_us"),
}
VALUES = {"p50_us": "p50", "processor_us": "CPU", "memory_mib": "memory"}
HEADING = f"""## How it grows

The gateway has one core to itself, and in the last curve shares it with its replicas and their Varnish; wrk and the upstream have the other. All are hits in memory:
`inputs` over 1 connection with vectors of 1,536 numbers, `connections` with one of them; `keys`, `bodies` and `replicas` with {SHORT} numbers and 16 connections, so that the
rest is seen. `keys` and `replicas` ask for one of all inputs by chance ({USUAL_KEYS:,} for replicas). Medians of {ROUNDS} interleaved rounds of {SECONDS} s. A wrong answer ends the run,
so there are no errors in it. The exponent is the *b* of *a·xᵇ*: 1 grows as much as x does, 0 does not grow. CPU is for one request, of all programs; memory is at most.
"""
TITLES = ("curve", "x", "requests/s (spread)", "p50 µs", "p99 µs", "CPU µs", "memory MiB")
Results = dict[tuple, list[Sample]]


def points(results: Results, curve: str, value: str) -> list[tuple[float, ...]]:
    return [figures.point(x, samples, value) for (name, x), samples in results.items() if name == curve]


def exponents(results: Results) -> str:
    lines = [figures.head("curve", "grows", "from", "to", *(f"exponent of {name}" for name in VALUES.values()))]
    for curve, (what, _) in CURVES.items():
        found = points(results, curve, "p50_us")
        fits = [f"{figures.exponent(points(results, curve, value)):.2f}" for value in VALUES]
        lines.append(figures.row(curve, what, f"{found[0][0]:,}", f"{found[-1][0]:,}", *fits))
    return "\n".join(lines)


def table(results: Results) -> str:
    lines = [figures.head(*TITLES)]
    for (curve, x), samples in results.items():
        times = [figures.number(figures.middle(samples, value)) for value in ("p50_us", "p99_us", "processor_us")]
        memory = figures.number(max(figures.values(samples, "memory_mib")))
        lines.append(figures.row(curve, f"{x:,}", figures.spread(samples, "per_second"), *times, memory))
    return "\n".join(lines)


def draw(results: Results) -> str:
    pictures = {}
    for curve, (what, value) in CURVES.items():
        pictures.setdefault(what, {})[curve] = points(results, curve, value)
    shown = []
    for what, series in pictures.items():
        file = f"growth-{what.partition(' ')[0]}-{what.rpartition(' ')[2]}.svg"
        plot.lines(figures.FIGURES / file, f"p50 by {what}", what, "µs", series, "xy")
        shown.append(f"![p50 by {what}](benchmarks/{file})")
    return "\n\n".join(shown)


def main() -> None:
    with running() as curves:
        starts = {
            "inputs, base64": lambda: curves.inputs("base64"),
            "inputs, float": lambda: curves.inputs("float"),
            "keys": curves.keys,
            "connections": curves.connections,
            "bodies": curves.bodies,
            "replicas": curves.replicas,
        }
        cases: dict[tuple[str, int], Case] = {}
        for curve in CURVES:
            print(f"  {curve}: starting and filling", file=sys.stderr)
            cases |= {(curve, x): case for x, case in starts[curve]().items()}

        def one(curve: str, x: int) -> Sample:
            case = cases[curve, x]
            return measure(case.contender, case.body, case.file, case.connections, case.numbers)

        results = rounds(list(cases), one)
    figures.write_rounds("growth", ("curve", "x"), results)
    parts = [HEADING, exponents(results), "", draw(results), "", table(results), ""]
    print("\n".join([*parts, "Every round: [growth.csv](benchmarks/growth.csv)."]))


if __name__ == "__main__":
    main()

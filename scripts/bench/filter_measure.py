"""Measures every way to give a request its body's hash against the same Envoy that gives none; prints Markdown.

Each way has an Envoy of one worker, and all its other programs, on one core; wrk and the origin share the others.
"""

import tempfile
from pathlib import Path
from statistics import median

import figures
import filter_hashing
import filter_wanted
import plot
from contender import KIB, Sample, measure
from filter_ways import MIB, NONE, contenders
from harness.paths import ENVOY_VERSION
from measuring import ROUNDS, SECONDS, rounds

BODIES = (KIB, 16 * KIB, 256 * KIB, MIB)
CONNECTIONS = (1, 16, 64)
HEADING = f"""## Body-hash filter

Envoy {ENVOY_VERSION} with one worker, and on the same core all that a way needs besides; wrk and the origin have the other. The origin is a second
Envoy that reads the whole body before it answers, and refuses a request without a hash. *ext_proc chain* is what the filter replaces: Lua that rewrites
`Host`, `ext_proc` (`BUFFERED`) to a gRPC server in Rust over one HTTP/2 connection, `socat` in front of the origin; it alone may fail up to 2 % of its requests, and does fail some. Medians of {ROUNDS} interleaved rounds
of {SECONDS} s; *added* is the difference to *none* in the same round, CPU is that of all programs of a way for one request. Memory is of all of them under load.
"""
TITLES = ("body", "connections", "way", "p50 µs", "added", "p99 µs", "requests/s (spread)", "of none", "CPU µs", "added", "memory MiB")
Results = dict[tuple, list[Sample]]


def size(body: int) -> str:
    return f"{body // KIB} KiB" if body < MIB else f"{body // MIB} MiB"


def table(results: Results, names: list[str]) -> str:
    lines = [figures.head(*TITLES)]
    for body in BODIES:
        for connections in CONNECTIONS:
            plain = results[NONE, body, connections]
            lines += [line(name, body, connections, results[name, body, connections], plain) for name in names]
    return "\n".join(lines)


def line(name: str, body: int, connections: int, samples: list[Sample], plain: list[Sample]) -> str:
    def more(value: str) -> str:
        return "" if name == NONE else figures.number(figures.added(samples, plain, value))

    return figures.row(
        size(body),
        str(connections),
        name,
        figures.number(figures.middle(samples, "p50_us")),
        more("p50_us"),
        figures.number(figures.middle(samples, "p99_us")),
        figures.spread(samples, "per_second"),
        f"{figures.ratio(samples, plain, 'per_second'):.2f}",
        figures.number(figures.middle(samples, "processor_us")),
        more("processor_us"),
        figures.number(max(figures.values(samples, "memory_mib"))),
    )


def draw(results: Results, names: list[str]) -> str:
    """Pictures, and the lines that show them."""
    served = {name: [median(figures.values(results[name, body, 16], "per_second")) for body in BODIES] for name in names}
    plot.bars(figures.FIGURES / "filter-requests.svg", "Requests per second on one core, 16 connections", "requests/s", [size(body) for body in BODIES], served, "y")
    spent = {name: [figures.point(body / KIB, results[name, body, 1], "processor_us") for body in BODIES] for name in names}
    plot.lines(figures.FIGURES / "filter-cpu.svg", "CPU for one request, 1 connection", "body, KiB", "µs", spent, "xy")
    return "![Requests per second of each way](benchmarks/filter-requests.svg)\n\n![CPU of each way](benchmarks/filter-cpu.svg)"


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = {body: folder / str(body) for body in BODIES}
        contents = {body: b"x" * body for body in BODIES}
        for body, file in files.items():
            file.write_bytes(contents[body])
        with contenders(folder) as found:
            cases = [(name, body, connections) for body in BODIES for connections in CONNECTIONS for name in found]
            results = rounds(cases, lambda name, body, connections: measure(found[name], contents[body], files[body], connections))
            names = list(found)
        figures.write_rounds("filter", ("way", "body_bytes", "connections"), results)
        print("\n".join([HEADING, table(results, names), "", draw(results, names), "", filter_wanted.table(results), "", filter_hashing.table(folder)]))
        print("\nEvery round: [filter.csv](benchmarks/filter.csv).")


if __name__ == "__main__":
    main()

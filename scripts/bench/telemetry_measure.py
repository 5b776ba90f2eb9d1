"""Measures a gateway that logs and traces against the same gateway that does not; prints Markdown.

All of them serve one hit in memory, on one core that they have to themselves. Counters cannot be turned off, so what they
take is measured apart and added to each ratio.
"""

import subprocess

from backend_bench import QUIET, Bench, middle, ratio, running_bench
from backend_hits import CONNECTIONS, PROCESSES, Hit
from harness.collector import Collector
from measuring import MEASURED_CORES, SECONDS, on_cores, rounds

NONE = "no line a request, no traces"
SAMPLED = {"OTEL_TRACES_SAMPLER": "traceidratio"}
# Logs go to a file, as a container's do.
LOGS = {"RUST_LOG": "info", "LOG_FORMAT": "json"}
TEXT = {"RUST_LOG": "info", "LOG_FORMAT": "text"}
HEADING = """## Telemetry

The hit of one input in memory, base64, {connections} connections; the gateway has one core to itself, wrk and the collector share the others. Two
processes of one program differ by some percent, so each measurement has a process of its own: median of {processes} rounds of {seconds} s with each gateway, ratios within
a round, of requests per second and of what the core could serve (by the processor time of each, which other programs on the machine disturb less). Counters cannot be turned
off: for each hit they take {counters:.0f} ns, measured apart (`benches/metrics_cost.rs`). The last ratio counts them as telemetry too.

| gateway | requests/s | processor each | ratio, requests/s | ratio, processor | the same, with the counters | wanted |
|---|---|---|---|---|---|---|"""


def variants(collector: str) -> dict[str, tuple[dict[str, str], str]]:
    """The variables of each gateway, and what is wanted of it."""
    traces = LOGS | SAMPLED | {"OTEL_EXPORTER_OTLP_ENDPOINT": collector}
    return {
        NONE: ({"RUST_LOG": QUIET}, ""),
        "a line a request, as JSON": (LOGS, "≥ 0.90"),
        "a line a request, as text": (TEXT, "≥ 0.90"),
        "JSON lines, 1 % of requests traced": (traces | {"OTEL_TRACES_SAMPLER_ARG": "0.01"}, "≥ 0.85"),
        "JSON lines, all requests traced": (traces | {"OTEL_TRACES_SAMPLER_ARG": "1"}, ""),
    }


def counters_ns(bench: Bench) -> float:
    """What counting takes, on the core of the gateways."""
    with on_cores(MEASURED_CORES):
        ran = [subprocess.run([bench.executables["metrics_cost"]], check=True, capture_output=True, text=True) for _ in range(3)]
    return min(float(one.stdout) for one in ran)


def table(bench: Bench, collector: str) -> str:
    hit = Hit(bench, "base64")
    wanted = variants(collector)
    found = rounds([(name,) for name in wanted], lambda name: hit.measure(lambda hit: hit.gateway(**wanted[name][0])), PROCESSES)
    results = {name: found[name,] for name in wanted}
    counters = counters_ns(bench)
    plain = middle(results[NONE], "processor_us")
    uncounted = 1 - counters / 1000 / plain
    lines = [HEADING.format(connections=CONNECTIONS, processes=PROCESSES, seconds=SECONDS, counters=counters)]
    for name, (_, bound) in wanted.items():
        samples = results[name]
        served = ratio(samples, results[NONE], "per_second")
        able = ratio(results[NONE], samples, "processor_us")
        each = f"{middle(samples, 'per_second'):,.0f} | {middle(samples, 'processor_us'):.1f} µs"
        lines.append(f"| {name} | {each} | {served:.3f} | {able:.3f} | {able * uncounted:.3f} | {bound} |")
    return "\n".join(lines)


def main() -> None:
    with running_bench() as bench, Collector(lambda export: None) as collector:
        print(table(bench, collector.url))


if __name__ == "__main__":
    main()

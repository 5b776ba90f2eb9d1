"""Measures the filter on one Envoy against the same Envoy without it; prints Markdown.

The gateway has one worker on a core of its own. wrk and the origin share the other cores. The origin is a second Envoy whose
buffer filter reads the whole body before a direct response answers, so every byte is really forwarded.
"""

import os
import tempfile
from contextlib import ExitStack
from pathlib import Path
from statistics import median

import wrk
from filter.attachments import PAIR, SINGLE, chain, member
from harness.envoy import Envoy
from harness.envoy_config import bootstrap, cluster, http_connection_manager, http_filter, listener, route
from harness.paths import ENVOY_VERSION
from measuring import BUILDS, MEASURED_CORES, OTHER_CORES, ROUNDS, SECONDS, rounds

KIB, MIB = 1 << 10, 1 << 20
BODIES = (KIB, 16 * KIB, 256 * KIB)
NONE = "none"
TITLES = {"p50_us": "p50", "p99_us": "p99", "per_second": "requests/s"}
COLUMNS = [(1, "p50_us"), (1, "p99_us"), (16, "p50_us"), (16, "p99_us"), (16, "per_second")]
READ_ALL = http_filter("buffer.v3.Buffer", max_request_bytes=4 * MIB)
ANSWER = {"match": {"prefix": "/"}, "direct_response": {"status": 200}}


def built(name: str) -> Path:
    """The filter with the compiler flags that scripts/bench.sh calls so."""
    return BUILDS / name / "wasm32-wasip1/release/body_hash_filter.wasm"


def envoy(listeners: list, clusters: list, folder: Path, cores: set[int]) -> Envoy:
    """An Envoy with one worker, pinned."""
    running = Envoy(bootstrap(listeners, clusters), folder)
    for thread in Path(f"/proc/{running.process.pid}/task").iterdir():
        os.sched_setaffinity(int(thread.name), cores)
    return running


def compared(results: dict, case, plain, value: str) -> tuple[float, float, float]:
    """Medians over the rounds: the value, its difference and its ratio to the plain Envoy's of the same round."""
    pairs = [(getattr(one, value), getattr(other, value)) for one, other in zip(results[case], results[plain], strict=True)]
    return median(one for one, _ in pairs), median(one - other for one, other in pairs), median(one / other for one, other in pairs)


def cell(results: dict, name: str, body: int, connections: int, value: str) -> str:
    """One figure of the table, with what the filter makes of it."""
    unit = "" if value == "per_second" else " µs"
    figure, difference, ratio = compared(results, (name, body, connections), (NONE, body, connections), value)
    return f"{figure:,.0f}{unit}" if name == NONE else f"{figure:,.0f}{unit} ({difference:+,.0f}, {ratio:.2f}×)"


def attachments(folder: Path) -> str:
    """Latency at 1 connection, latency and requests per second at 16."""
    module = built("simd")
    filters = {NONE: [], PAIR: chain(PAIR, module), SINGLE: chain(SINGLE, module)}
    with ExitStack() as stack:
        answering = listener("origin", http_connection_manager([READ_ALL], [ANSWER]))
        origin = stack.enter_context(envoy([answering], [], folder / "origin", OTHER_CORES))
        forwarding = [listener(name, http_connection_manager(chained, [route("origin")])) for name, chained in filters.items()]
        upstream = cluster("origin", origin.port("origin"))
        gateway = stack.enter_context(envoy(forwarding, [upstream], folder / "gateway", MEASURED_CORES))
        ports = {name: gateway.port(name) for name in filters}
        cases = [(name, body, connections) for body in BODIES for connections in dict(COLUMNS) for name in filters]
        results = rounds(cases, lambda name, body, connections: wrk.post(ports[name], body, connections, SECONDS, OTHER_CORES))
    titles = [f"{TITLES[value]}, {connections} connection{'s'[: connections - 1]}" for connections, value in COLUMNS]
    lines = [f"| body | filter | {' | '.join(titles)} |", "|---" * (2 + len(COLUMNS)) + "|"]
    for body in BODIES:
        for name in filters:
            cells = [cell(results, name, body, connections, value) for connections, value in COLUMNS]
            lines.append(f"| {body // KIB} KiB | {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def hashing(folder: Path) -> str:
    """How fast a tap hashes 1 MiB bodies: its time over that of the same listener without it. Nothing is forwarded here."""
    filters = {NONE: [], **{name: [member("tap", built(name), vm_id=name)] for name in ("scalar", "simd")}}
    listeners = [listener(name, http_connection_manager([*chained, READ_ALL], [ANSWER])) for name, chained in filters.items()]
    with envoy(listeners, [], folder / "hashing", MEASURED_CORES) as gateway:
        ports = {name: gateway.port(name) for name in filters}
        results = rounds([(name,) for name in filters], lambda name: wrk.post(ports[name], MIB, 1, SECONDS, OTHER_CORES))
    seconds = {}
    for name in ("scalar", "simd"):
        seconds[name] = [(tap.p50_us - plain.p50_us) / 1e6 for tap, plain in zip(results[name,], results[NONE,], strict=True)]
    ratio = median(scalar / simd for scalar, simd in zip(seconds["scalar"], seconds["simd"], strict=True))
    lines = ["| build | added for 1 MiB, p50 | hashed per second |", "|---|---|---|"]
    for name, flag in (("scalar", "-simd128"), ("simd", "+simd128")):
        middle = median(seconds[name])
        lines.append(f"| `-C target-feature={flag}` | {middle * 1e6:,.0f} µs | {MIB / middle / 1e6:,.0f} MB/s |")
    return "\n".join(lines) + f"\n\nWith `+simd128` the filter hashes {ratio:.2f}× as fast (median of the rounds)."


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        print("## Body-hash filter\n")
        print(
            f"Envoy {ENVOY_VERSION} with one worker on its own core; wrk and the origin on the others. The origin is a second Envoy that reads the "
            f"whole body (buffer filter) before it answers, so every byte is forwarded. Median of {ROUNDS} rounds of {SECONDS} s; "
            "in brackets the difference and the ratio to the same Envoy without the filter in the same round.\n"
        )
        print(attachments(Path(folder)) + "\n")
        print("SHA-256 inside V8: what the tap alone adds to reading a body of 1 MiB.\n")
        print(hashing(Path(folder)))


if __name__ == "__main__":
    main()

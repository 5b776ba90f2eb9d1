"""Measures hits in Varnish behind an Envoy with the filter against a plain GET through the same programs; prints Markdown.

Envoy, with one worker, and Varnish share one core; wrk has the other. The filter hashes each body, and Varnish's VCL makes
a key of the hash; the plain way has neither: its Varnish runs the builtin VCL, its requests have no body.
"""

import socket
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import figures
import plot
from contender import KIB, Contender, Sample, measure
from filter.attachments import NATIVE, PAIR, chain
from filter_ways import built, envoy
from harness.client import Answer, send
from harness.envoy_config import cluster, http_connection_manager, listener, route
from harness.paths import ENVOY_VERSION
from harness.ports import free_port
from harness.processes import Process
from harness.waiting import eventually
from measuring import MEASURED_CORES, ROUNDS, SECONDS, on_cores, rounds
from varnish.varnish import EMBEDDINGS, START_SECONDS, Backend, start

PLAIN = "GET, no filter"
BODIES = (KIB, 16 * KIB)
CONNECTIONS = (1, 16)
# A base64 vector of 1,536 numbers, and what stands around it.
ANSWER_BYTES = 8_300
# What is wanted, by way and body.
WANTED = {(PAIR, KIB): "≥ 0.80", (NATIVE, KIB): "≥ 0.80", (NATIVE, 16 * KIB): "≥ 0.80"}
HEADERS = {"x-answer-bytes": str(ANSWER_BYTES)}
# The builtin VCL caches nothing for a request with a credential.
CREDENTIAL = {"authorization": "Bearer sk-acme-1"}
BUILTIN = 'vcl 4.1;\nbackend default {{ .host = "127.0.0.1"; .port = "{port}"; }}\n'
HEADING = f"""## Hits in Varnish, through Envoy

Envoy {ENVOY_VERSION} with one worker and Varnish share one core, wrk has the other. Each answer has {ANSWER_BYTES:,} bytes and comes from Varnish's memory. *{PLAIN}* asks a Varnish
with the builtin VCL through an Envoy without filters; the others POST a body, whose hash the filter makes a part of Varnish's key. Medians of {ROUNDS} interleaved rounds
of {SECONDS} s, the ratio within a round; CPU is that of Envoy and Varnish for one request.
"""
TITLES = ("way", "body", "connections", "requests/s (spread)", "of the plain", "p50 µs", "p99 µs", "CPU µs", "memory MiB", "wanted")


def builtin_varnish(folder: Path, backend: int) -> tuple[Process, int]:
    folder.mkdir()
    folder.chmod(0o755)
    (folder / "builtin.vcl").write_text(BUILTIN.format(port=backend))
    port = free_port()
    command = ["varnishd", "-F", "-f", folder / "builtin.vcl", "-a", f"127.0.0.1:{port}", "-n", folder / "work", "-s", "malloc,256m"]
    process = Process(command, folder / "varnish.log")
    eventually(lambda: _listens(port), START_SECONDS, "varnishd listens")
    return process, port


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), START_SECONDS).close()
        return True
    except ConnectionRefusedError:
        return False


def check(contender: Contender, body: bytes) -> Answer:
    """Ask twice: the first may be a miss."""
    method = "POST" if body else "GET"
    send(contender.url, method, contender.path, body, contender.headers)
    answer = send(contender.url, method, contender.path, body, contender.headers)
    hit = len(answer.headers.get("x-varnish", "").split()) == 2 or answer.from_varnish
    if answer.status != 200 or len(answer.body) != ANSWER_BYTES or not hit:
        raise RuntimeError(f"{contender.name}: {answer.status}, {len(answer.body)} bytes, {answer.headers}")
    return answer


@contextmanager
def contenders(folder: Path) -> Iterator[dict[str, Contender]]:
    with ExitStack() as stack:
        backend = Backend()
        stack.callback(backend.stop)
        with on_cores(MEASURED_CORES):
            plain, plain_port = builtin_varnish(folder / "builtin", backend.port)
            own = start(folder / "varnish", backend.port)
        attached = {name: (chain(name, built("simd")), own.process, own.port) for name in (PAIR, NATIVE)}
        ways = {PLAIN: ([], plain, plain_port)} | attached
        found = {}
        for number, (name, (filters, varnish, port)) in enumerate(ways.items()):
            forwarding = listener(name, http_connection_manager(filters, [route("varnish")]))
            gateway = envoy([forwarding], [cluster("varnish", port)], folder / f"envoy-{number}", MEASURED_CORES)
            found[name] = Contender(name, [gateway.process, varnish], gateway.port(name), check, EMBEDDINGS, HEADERS | ({} if name == PLAIN else CREDENTIAL))
            stack.callback(found[name].stop)
        yield found


def table(results: dict[tuple, list[Sample]]) -> str:
    lines = [figures.head(*TITLES)]
    for (name, body, connections), samples in results.items():
        plain = results[PLAIN, 0, connections]
        lines.append(
            figures.row(
                name,
                f"{body // KIB} KiB" if body else "none",
                str(connections),
                figures.spread(samples, "per_second"),
                f"{figures.ratio(samples, plain, 'per_second'):.2f}",
                *(figures.number(figures.middle(samples, value)) for value in ("p50_us", "p99_us", "processor_us")),
                figures.number(max(figures.values(samples, "memory_mib"))),
                WANTED.get((name, body), "") if connections > 1 else "",
            )
        )
    return "\n".join(lines)


def draw(results: dict[tuple, list[Sample]]) -> str:
    served = {
        name: [figures.middle(results[name, body if name != PLAIN else 0, 16], "per_second") for body in BODIES]
        for name in dict.fromkeys(name for name, _, _ in results)
    }
    groups = [f"body of {body // KIB} KiB" for body in BODIES]
    plot.bars(figures.FIGURES / "chain.svg", "Hits in Varnish per second through Envoy, one core, 16 connections", "requests/s", groups, served)
    return "![Hits per second of each way](benchmarks/chain.svg)"


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # varnishd drops its rights, and reads here.
        folder.chmod(0o755)
        files = {body: folder / str(body) for body in BODIES}
        for body, file in files.items():
            file.write_bytes(b"x" * body)
        with contenders(folder) as found:
            cases = [
                (name, body, connections)
                for name in found
                for body in ((0,) if name == PLAIN else BODIES)
                for connections in CONNECTIONS
            ]

            def one(name: str, body: int, connections: int) -> Sample:
                return measure(found[name], b"x" * body, files.get(body), connections)

            results = rounds(cases, one)
    figures.write_rounds("chain", ("way", "body_bytes", "connections"), results)
    print("\n".join([HEADING, table(results), "", draw(results), "", "Every round: [chain.csv](benchmarks/chain.csv)."]))


if __name__ == "__main__":
    main()

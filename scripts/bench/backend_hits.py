"""Hits in memory: one input against a handler that only sends the same bytes, and large batches against small ones."""

import hashlib
from collections.abc import Iterator

from backend_bench import HEADERS, Bench, Sample, Server, mebibytes, middle, ratio, request, row
from harness.client import send
from harness.processes import memory_bytes
from measuring import rounds

PATH = "/v1/embeddings"
CONNECTIONS = 16
SMALL, LARGE = 64, 2048
WANTED = {"base64": "≥ 0.70", "float": "≥ 0.40"}


def warm(server: Server, body: bytes) -> bytes:
    """Asks until the answer is a hit; the answer."""
    for _ in range(3):
        answer = send(f"http://127.0.0.1:{server.port}", "POST", PATH, body, HEADERS)
        assert answer.status == 200, answer.body
        if answer.cache_status == "embedding-gateway; hit":
            return answer.body
    raise RuntimeError(f"no hit but {answer.cache_status}")


def speed(samples: list[Sample]) -> str:
    return f"{middle(samples, 'per_second'):,.0f} requests/s, {middle(samples, 'processor_us'):.1f} µs of processor each"


def rows(bench: Bench) -> Iterator[str]:
    yield from single(bench)
    yield from batches(bench)


def single(bench: Bench) -> Iterator[str]:
    """One input, 16 connections."""
    quiet, logging = bench.gateway()[1], bench.gateway(RUST_LOG="info")[1]
    bodies = {encoding: request(1, encoding=encoding) for encoding in WANTED}
    files = {encoding: bench.file(body) for encoding, body in bodies.items()}
    hashes = {encoding: HEADERS | {"x-body-hash": hashlib.sha256(body).hexdigest()} for encoding, body in bodies.items()}
    for body in bodies.values():
        warm(logging, body)
    bare = {encoding: bench.yardstick("bare_handler", bench.file(warm(quiet, body))) for encoding, body in bodies.items()}
    servers = {"quiet": dict.fromkeys(WANTED, quiet), "logging": dict.fromkeys(WANTED, logging), "bare": bare}
    results = rounds(
        [(name, encoding) for encoding in WANTED for name in servers],
        lambda name, encoding: bench.measure(servers[name][encoding], files[encoding], CONNECTIONS, PATH, hashes[encoding]),
    )
    for encoding, wanted in WANTED.items():
        for name, also, bound in (("quiet", "", wanted), ("logging", ", with a log line a request", "")):
            samples, others = results[name, encoding], results["bare", encoding]
            what = f"hit in memory, {encoding}, {CONNECTIONS} connections{also}"
            yield row(what, speed(samples), f"bare handler: {speed(others)}", ratio(samples, others, "per_second"), bound)
    for server in (quiet, logging, *bare.values()):
        server.process.stop()


def batches(bench: Bench) -> Iterator[str]:
    """Time for an input, and memory, of a large batch."""
    server = bench.gateway()[1]
    for first in range(0, LARGE, SMALL):
        warm(server, request(SMALL, first))
    small, large = request(SMALL), request(LARGE)
    resident = memory_bytes(server.process.pid)
    peak, answer = peak_of(server, large)
    files = {count: bench.file(body) for count, body in ((SMALL, small), (LARGE, large))}
    results = rounds([(SMALL,), (LARGE,)], lambda count: bench.measure(server, files[count], 1, PATH, HEADERS))
    times = {count: middle(results[count,], "p50_us") / count for count in files}
    found = ratio(results[LARGE,], results[SMALL,], "p50_us") * SMALL / LARGE
    yield row(f"batch of {LARGE:,} hits, time an input", f"{times[LARGE]:.2f} µs", f"batch of {SMALL}: {times[SMALL]:.2f} µs", found, "≤ 1.5")
    what = f"batch of {LARGE:,} hits, memory that it takes at most"
    yield row(what, mebibytes(peak - resident), f"the answer: {mebibytes(answer)}", (peak - resident) / answer, "≤ 2")
    server.process.stop()


def peak_of(server: Server, body: bytes) -> tuple[int, int]:
    """The greatest resident memory while one request is answered, and the length of the answer."""
    # 5 sets the peak back to what is resident now: proc_pid_clear_refs(5).
    with open(f"/proc/{server.process.pid}/clear_refs", "w") as file:
        file.write("5")
    answer = send(f"http://127.0.0.1:{server.port}", "POST", PATH, body, HEADERS)
    assert answer.cache_status == "embedding-gateway; hit", answer.cache_status
    return memory_bytes(server.process.pid, "VmHWM"), len(answer.body)

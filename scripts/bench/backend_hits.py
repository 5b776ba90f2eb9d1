"""Hits in memory: one input against a handler that only sends the same bytes, and large batches against small ones."""

import hashlib
from collections.abc import Callable, Iterator

from backend_bench import DIMENSIONS, HEADERS, MODEL, Bench, Sample, Server, mebibytes, middle, ratio, request, row
from harness.client import send
from harness.processes import memory_bytes
from measuring import ROUNDS, rounds

PATH = "/v1/embeddings"
CONNECTIONS = 16
# Rounds of single hits, which differ most from process to process and from second to second.
PROCESSES = 6 * ROUNDS
SMALL, LARGE = 64, 2048
WANTED = {"base64": "≥ 0.70", "float": "≥ 0.40"}
# Of vectors that are made of those of 1,536 dimensions.
DERIVED = 512


def warm(server: Server, body: bytes) -> bytes:
    """Asks until the answer is a hit; the answer."""
    for _ in range(3):
        answer = send(f"http://127.0.0.1:{server.port}", "POST", PATH, body, HEADERS)
        assert answer.status == 200, answer.body
        if answer.cache_status.startswith("embedding-gateway; hit"):
            return answer.body
    raise RuntimeError(f"no hit but {answer.cache_status}")


class Hit:
    """One input in memory. Two processes of one program differ by up to a tenth, so each measurement has one of its own."""

    def __init__(self, bench: Bench, encoding: str, dimensions: int = DIMENSIONS) -> None:
        self._bench = bench
        self._body = request(1, encoding=encoding, dimensions=dimensions)
        self._headers = HEADERS | {"x-body-hash": hashlib.sha256(self._body).hexdigest()}
        self._file = bench.file(self._body)
        server = self.gateway()
        self._answer = bench.file(warm(server, self._body))
        server.process.stop()

    def gateway(self, **variables: str) -> Server:
        server = self._bench.gateway(**variables)[1]
        warm(server, self._body)
        return server

    def bare_handler(self) -> Server:
        return self._bench.yardstick("bare_handler", self._answer)

    def measure(self, start: Callable[["Hit"], Server]) -> Sample:
        server = start(self)
        sample = self._bench.measure(server, self._file, CONNECTIONS, PATH, self._headers)
        server.process.stop()
        # Or the system would write it to the disk while the next one is measured.
        server.process.log.unlink()
        return sample


def speed(samples: list[Sample]) -> str:
    return f"{middle(samples, 'per_second'):,.0f} requests/s, {middle(samples, 'processor_us'):.1f} µs of processor each"


def rows(bench: Bench) -> Iterator[str]:
    yield from single(bench)
    yield from batches(bench)


def single(bench: Bench) -> Iterator[str]:
    """One input, 16 connections."""
    hits = {encoding: Hit(bench, encoding) for encoding in WANTED}
    shorter = {encoding: Hit(bench, encoding, DERIVED) for encoding in WANTED}
    # What is compared stands side by side: the machine's speed changes within seconds.
    starts = {
        "logging": lambda hit: hit.gateway(RUST_LOG="info"),
        "quiet": lambda hit: hit.gateway(),
        "bare": lambda hit: hit.bare_handler(),
    }
    cases = [(name, encoding) for encoding in WANTED for name in starts]
    results = rounds(cases, lambda name, encoding: hits[encoding].measure(starts[name]), PROCESSES)
    derivations = {"derived": lambda hit: hit.gateway(DERIVE_DIMENSIONS=MODEL), "stored": lambda hit: hit.gateway()}
    cases = [(name, encoding) for encoding in WANTED for name in derivations]
    derived = rounds(cases, lambda name, encoding: shorter[encoding].measure(derivations[name]), PROCESSES)
    for encoding, wanted in WANTED.items():
        for name, also, bound in (("quiet", "", wanted), ("logging", ", with a log line a request", "")):
            samples, others = results[name, encoding], results["bare", encoding]
            what = f"hit in memory, {encoding}, {CONNECTIONS} connections{also}"
            yield row(what, speed(samples), f"bare handler: {speed(others)}", ratio(samples, others, "per_second"), bound)
        samples, others = derived["derived", encoding], derived["stored", encoding]
        what = f"hit of {DERIVED} dimensions, derived from {DIMENSIONS:,}, {encoding}, {CONNECTIONS} connections"
        yield row(what, speed(samples), f"kept at that length: {speed(others)}", ratio(samples, others, "per_second"), "")


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

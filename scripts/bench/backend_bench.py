"""What the parts of the backend's benchmark share: pinned programs, requests, samples, rows of the table."""

import itertools
import json
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import wrk
from harness.gateway import Gateway
from harness.processes import Process
from harness.programs import START_SECONDS
from harness.standin import Standin
from harness.waiting import eventually
from measuring import BUILDS, MEASURED_CORES, OTHER_CORES, SECONDS, on_cores

MODEL = "text-embedding-3-small"
# Whose numbers are no float16s.
FLOAT_MODEL = "gemini-embedding-001"
DIMENSIONS = 1536
TEXT = "A customer asks how to return a parcel that arrived too late; this is passage number {} of the manual."
# What an OpenAI SDK sends.
HEADERS = {
    "authorization": "Bearer sk-acme-1",
    "content-type": "application/json",
    "accept": "application/json",
    "user-agent": "OpenAI/Python 3.54.0",
}
QUIET = "info,embedding_gateway::request=off"
MIB = 1 << 20


@dataclass(frozen=True)
class Sample:
    """One measurement of one server."""

    per_second: float
    p50_us: float
    processor_us: float


@dataclass
class Server:
    """Something that answers at a port."""

    process: Process
    port: int

    def processor_seconds(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@dataclass
class Bench:
    """One run of the benchmark."""

    folder: Path
    upstream: str
    executables: dict[str, Path]
    _numbers: itertools.count = field(default_factory=itertools.count)

    def gateway(self, upstream: str | None = None, **variables: str) -> tuple[Gateway, Server]:
        """A gateway on the core that is measured."""
        with on_cores(MEASURED_CORES):
            folder = self.folder / f"gateway-{next(self._numbers)}"
            gateway = Gateway(folder, upstream or self.upstream, **{"RUST_LOG": QUIET} | variables)
        return gateway, Server(gateway.process, int(gateway.url.rpartition(":")[2]))

    def yardstick(self, name: str, *arguments) -> Server:
        """A program that listens and says where, on the same core."""
        log = self.folder / f"{name}-{next(self._numbers)}.log"
        with on_cores(MEASURED_CORES):
            process = Process([self.executables[name], "127.0.0.1:0", *arguments], log)
        found = eventually(lambda: re.search(r"http://127.0.0.1:(\d+)", process.log_text()), START_SECONDS, f"{name}'s address")
        return Server(process, int(found.group(1)))

    def file(self, content: bytes) -> Path:
        path = self.folder / f"file-{next(self._numbers)}"
        path.write_bytes(content)
        return path

    def measure(self, server: Server, body: int | Path, connections: int, path: str, headers: dict[str, str]) -> Sample:
        before = server.processor_seconds()
        measured = wrk.post(server.port, body, connections, SECONDS, OTHER_CORES, path, headers)
        if not measured.per_second:
            raise RuntimeError(f"{SECONDS} s are too few for one request: set BENCH_SECONDS")
        spent = server.processor_seconds() - before
        return Sample(measured.per_second, measured.p50_us, spent * 1e6 / (measured.per_second * SECONDS))


@contextmanager
def running_bench() -> Iterator[Bench]:
    """Its folder, the stand-in, and the programs that cargo reported; gone afterwards."""
    with tempfile.TemporaryDirectory() as name:
        standin = Standin(Path(name) / "standin")
        try:
            yield Bench(Path(name), standin.url, _executables())
        finally:
            standin.process.stop()


def _executables() -> dict[str, Path]:
    messages = (json.loads(line) for line in (BUILDS / "backend.json").read_text().splitlines())
    return {message["target"]["name"]: Path(message["executable"]) for message in messages if message.get("executable")}


def request(count: int, first: int = 0, encoding: str = "base64", model: str = MODEL, dimensions: int = DIMENSIONS) -> bytes:
    """The body of a request for that many different inputs, in vectors of 1,536 dimensions unless it says another number."""
    texts = [TEXT.format(number) for number in range(first, first + count)]
    body = {"model": model, "input": texts if count > 1 else texts[0], "encoding_format": encoding}
    is_usual = model == MODEL and dimensions == DIMENSIONS
    return json.dumps(body if is_usual else body | {"dimensions": dimensions}).encode()


def ratio(samples: list[Sample], others: list[Sample], value: str) -> float:
    """Median over the rounds."""
    return median(getattr(one, value) / getattr(other, value) for one, other in zip(samples, others, strict=True))


def middle(samples: list[Sample], value: str) -> float:
    return median(getattr(sample, value) for sample in samples)


def row(what: str, figure: str, yardstick: str, found: float | None, wanted: str) -> str:
    return f"| {what} | {figure} | {yardstick} | {'' if found is None else f'{found:.2f}'} | {wanted} |"


def mebibytes(count: float) -> str:
    return f"{count / MIB:,.1f} MiB"

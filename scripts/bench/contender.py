"""What is compared: programs that together answer at one port, and what they take for it."""

import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import wrk
from harness.client import Answer
from harness.processes import Process, children_of
from measuring import OTHER_CORES, SECONDS

KIB = 1 << 10
# What the same answer may differ by, in headers that say times.
SLACK_BYTES = 96
# What a miss has besides, as the check after it is a hit: limits, request id, time of the model.
UPSTREAM_HEADERS_BYTES = 2048


@dataclass(frozen=True)
class Sample:
    """One measurement of one contender: of all its programs together."""

    per_second: float
    p50_us: float
    p99_us: float
    processor_us: float
    memory_mib: float


@dataclass
class Contender:
    """Programs that answer at a port together. `check` sends one request and fails if the answer is wrong."""

    name: str
    processes: list[Process]
    port: int
    check: Callable[["Contender", bytes], Answer]
    path: str = "/"
    headers: dict[str, str] = field(default_factory=dict)
    # The share of requests that it may fail under load: no way of this repository may fail any.
    may_fail: float = 0.0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def pids(self) -> list[int]:
        """Of all programs and their children. A child may end while it is looked at: what is gone is left out."""
        found = [process.pid for process in self.processes]
        for pid in found:
            with suppress(OSError):
                found += children_of(pid)
        return found

    def processor_seconds(self) -> float:
        """Of all their threads, and of children that have ended."""
        return sum(_processor_seconds(pid) for pid in self.pids())

    def memory_mib(self) -> float:
        """What they have in memory; of pages that several share each has its part."""
        return sum(_proportional_kib(pid) for pid in self.pids()) / KIB

    def stop(self) -> None:
        for process in self.processes:
            process.stop()


def _processor_seconds(pid: int) -> float:
    """Of its threads by the scheduler's own count, which knows no ticks; of its ended children by ticks: proc(5), cutime and cstime."""
    spent = 0.0
    with suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        spent += (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")
        for file in Path(f"/proc/{pid}/task").glob("*/schedstat"):
            spent += int(file.read_text().split()[0]) / 1e9
    return spent


def _proportional_kib(pid: int) -> int:
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1])
    return 0


def measure(contender: Contender, body: bytes, file: Path | None, connections: int, numbers: wrk.Numbers | None = None) -> Sample:
    """Loads it for some seconds. A wrong answer before, after or in between ends the run: status by status, length on average.

    `body` is one of those that the file makes; without a file requests have none, and are GETs.
    """
    expected = contender.check(contender, body)
    before = contender.processor_seconds()
    memory = _Halfway(contender, SECONDS)
    measured = wrk.post(contender.port, file, connections, SECONDS, OTHER_CORES, contender.path, contender.headers, numbers, contender.may_fail)
    spent = contender.processor_seconds() - before
    if not measured.requests:
        raise RuntimeError(f"{contender.name}: {SECONDS} s are too few for one request: set BENCH_SECONDS")
    slack = SLACK_BYTES + (UPSTREAM_HEADERS_BYTES if numbers else 0)
    _check_length(contender, expected, measured, slack, connections)
    contender.check(contender, body)
    return Sample(measured.per_second, measured.p50_us, measured.p99_us, spent * 1e6 / measured.requests, memory.mib())


def _check_length(contender: Contender, expected: Answer, measured: wrk.Measured, slack: int, connections: int) -> None:
    """On each connection wrk may have received a part of one answer more than it counts."""
    found = measured.answer_bytes
    wanted = len(expected.body) + sum(len(name) + len(value) + 4 for name, value in expected.headers.items())
    if not -slack <= found - wanted <= slack + wanted * connections / measured.requests:
        raise RuntimeError(f"{contender.name}: answers had {found:,.0f} bytes on average, the right one has {wanted:,}")


class _Halfway:
    """Looks at the memory once, under load."""

    def __init__(self, contender: Contender, seconds: float) -> None:
        self._found = 0.0
        self._thread = threading.Thread(target=self._look, args=(contender, seconds / 2))
        self._thread.start()

    def _look(self, contender: Contender, wait: float) -> None:
        time.sleep(wait)
        self._found = contender.memory_mib()

    def mib(self) -> float:
        self._thread.join()
        return self._found

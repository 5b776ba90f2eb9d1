"""What a long run must not let grow: memory, descriptors and threads of each part, and the stores of Varnish."""

import re
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from harness.client import send
from harness.processes import children_of, memory_bytes

MIB = 1 << 20
# Growth beyond both is a leak: what allocators and pools do by themselves stays below.
ALLOWED_PART = 0.08
ALLOWED = {"MiB": 6.0, "descriptors": 24.0, "threads": 6.0, "bans": 50.0, "in flight": 24.0, "writes waiting": 100.0}
_STORES = ("SMA.objects.g_bytes", "SMA.body.g_bytes", "SMA.Transient.g_bytes", "MAIN.bans")
_GAUGES = {"in flight": "in_flight_requests", "writes waiting": "store_writes_pending"}


@dataclass(frozen=True)
class Column:
    """What is sampled: a part's name and a unit."""

    part: str
    unit: str

    def __str__(self) -> str:
        return f"{self.part} {self.unit}"


def of_process(name: str, pid: int) -> Iterator[tuple[Column, float]]:
    # Its own: the ring of Varnish's log is shared, has a fixed size, and takes minutes to be written to once.
    yield Column(name, "MiB"), memory_bytes(pid, "RssAnon") / MIB
    yield Column(name, "descriptors"), float(len(list(Path(f"/proc/{pid}/fd").iterdir())))
    yield Column(name, "threads"), float(len(list(Path(f"/proc/{pid}/task").iterdir())))


def of_varnish(pid: int, work_dir: Path) -> Iterator[tuple[Column, float]]:
    """Of the process that serves, the child of the one that was started, and of its stores."""
    (child,) = children_of(pid)
    yield from of_process("Varnish", child)
    fields = [option for name in _STORES for option in ("-f", name)]
    said = subprocess.run(["varnishstat", "-n", work_dir, "-1", *fields], check=True, capture_output=True, text=True, timeout=30)
    values = {name: float(value) for name, value, *_ in map(str.split, said.stdout.splitlines())}
    for name in ("objects", "body", "Transient"):
        yield Column(f"Varnish's {name}", "MiB"), values[f"SMA.{name}.g_bytes"] / MIB
    yield Column("Varnish", "bans"), values["MAIN.bans"]


def of_gateway(url: str) -> Iterator[tuple[Column, float]]:
    metrics = send(url, "GET", "/metrics").body.decode()
    for unit, name in _GAUGES.items():
        found = re.search(rf"^embedding_gateway_{name} (\d+)$", metrics, re.MULTILINE)
        yield Column("gateway", unit), float(found[1])


def third(values: Sequence[float], number: int) -> float:
    """The middle of the first, second or last third."""
    size = max(1, len(values) // 3)
    return median(values[(number - 1) * size : number * size])


def grows(column: Column, values: Sequence[float]) -> bool:
    """Whether the last third stands above the second: the first one is the warm-up."""
    before, after = third(values, 2), third(values, 3)
    return after - before > max(ALLOWED[column.unit], ALLOWED_PART * before)

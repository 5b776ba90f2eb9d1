"""Asks at a steady rate with h2load, whatever the answers take, and reads how long each took."""

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import quantiles


@dataclass(frozen=True)
class Paced:
    """What so many requests a second took."""

    p50_us: float
    p99_us: float


def post(port: int, path: str, body: Path, headers: dict[str, str], rate: int, connections: int, seconds: int, cores: set[int], log: Path) -> Paced:
    """RuntimeError if an answer was none of 200, or if there were fewer than were to be sent."""
    log.unlink(missing_ok=True)
    command = ["h2load", "--h1", "-t", "1", "-c", connections, "--rps", rate / connections, "-n", rate * seconds, "-d", body, "--log-file", log]
    for name, value in headers.items():
        command += ["-H", f"{name}: {value}"]
    subprocess.run(
        [str(word) for word in [*command, f"http://127.0.0.1:{port}{path}"]],
        check=True,
        capture_output=True,
        timeout=seconds * 5 + 30,
        preexec_fn=lambda: os.sched_setaffinity(0, cores),
    )
    lines = [line.split("\t") for line in log.read_text().splitlines()]
    begun = [int(line[0]) for line in lines]
    if len(lines) < rate * seconds or any(line[1] != "200" for line in lines):
        raise RuntimeError(f"{len(lines)} of {rate * seconds} answers, statuses {sorted({line[1] for line in lines})}")
    if (max(begun) - min(begun)) / 1e6 > seconds * 1.1:
        reached = len(begun) * 1e6 / (max(begun) - min(begun))
        raise RuntimeError(f"{rate} requests a second were not reached: {reached:,.0f}")
    return _paced([int(line[2]) for line in lines])


def _paced(took: Sequence[int]) -> Paced:
    cuts = quantiles(took, n=100)
    return Paced(cuts[49], cuts[98])

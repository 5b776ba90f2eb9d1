"""Runs wrk with a body and reads what it measured."""

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

_SCRIPT = Path(__file__).with_name("post.lua")


@dataclass(frozen=True)
class Measured:
    """One run of wrk."""

    p50_us: int
    p99_us: int
    per_second: float


def post(
    port: int, body: int | Path, connections: int, seconds: float, cores: set[int], path: str = "/", headers: dict[str, str] | None = None
) -> Measured:
    """POSTs so many bytes, or a file, for some seconds; RuntimeError if any request failed, since then nothing was measured."""
    command = ["wrk", "-t", "1", "-c", connections, "-d", f"{seconds}s", "--timeout", "10s", "-s", _SCRIPT]
    for name, value in (headers or {}).items():
        command += ["-H", f"{name}: {value}"]
    command.append(f"http://127.0.0.1:{port}{path}")
    environment = {**os.environ, "BODY_FILE" if isinstance(body, Path) else "BODY_BYTES": str(body)}
    ran = subprocess.run(
        [str(word) for word in command], env=environment, check=True, capture_output=True, text=True, preexec_fn=lambda: os.sched_setaffinity(0, cores)
    )
    measured = json.loads(ran.stdout.splitlines()[-1])
    if measured.pop("failed"):
        raise RuntimeError(f"requests failed:\n{ran.stdout}")
    return Measured(**measured)

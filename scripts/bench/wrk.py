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
    requests: int
    # On average, with its head.
    answer_bytes: float


@dataclass(frozen=True)
class Numbers:
    """What stands for the @ of a body: all from `first` on, or `keys` of them by chance."""

    first: int
    keys: int | None = None

    def variables(self) -> dict[str, str]:
        return {"BODY_FIRST": str(self.first)} | ({"BODY_KEYS": str(self.keys)} if self.keys else {})


def post(
    port: int,
    body: int | Path | None,
    connections: int,
    seconds: int,
    cores: set[int],
    path: str = "/",
    headers: dict[str, str] | None = None,
    numbers: Numbers | None = None,
    may_fail: float = 0.0,
) -> Measured:
    """POSTs so many bytes, or a file, for some seconds, or GETs; RuntimeError if more than this share of the requests failed."""
    command = ["wrk", "-t", "1", "-c", connections, "-d", f"{seconds}s", "--timeout", "60s", "-s", _SCRIPT]
    for name, value in (headers or {}).items():
        command += ["-H", f"{name}: {value}"]
    command.append(f"http://127.0.0.1:{port}{path}")
    ran = subprocess.run(
        [str(word) for word in command],
        env={**os.environ, **_body(body), **(numbers.variables() if numbers else {})},
        check=True,
        capture_output=True,
        text=True,
        preexec_fn=lambda: os.sched_setaffinity(0, cores),
    )
    measured = json.loads(ran.stdout.splitlines()[-1])
    if measured.pop("failed") > may_fail * measured["requests"]:
        raise RuntimeError(f"requests failed:\n{ran.stdout}")
    return Measured(**measured)


def _body(body: int | Path | None) -> dict[str, str]:
    if body is None:
        return {"METHOD": "GET"}
    return {"BODY_FILE" if isinstance(body, Path) else "BODY_BYTES": str(body)}

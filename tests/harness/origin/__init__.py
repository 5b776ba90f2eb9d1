"""The recording origin as a test sees it: a process that answers every request with what it received."""

import sys
from pathlib import Path

from .. import http1
from ..paths import ROOT
from ..processes import Process
from ..received import Received
from ..waiting import eventually
from .answers import RECORD_PATH

_START_SECONDS = 30


class Origin:
    """One origin process. `answers` says what each path does."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        address = folder / "origin-port"
        self.process = Process([sys.executable, "-m", "harness.origin", address], folder / "origin.log", cwd=ROOT / "tests")
        eventually(lambda: address.exists() or self.process.exit_code is not None, _START_SECONDS, "the origin's port")
        self.port = int(address.read_text())

    def __enter__(self) -> "Origin":
        return self

    def __exit__(self, *_) -> None:
        self.stop()

    def stop(self) -> None:
        self.process.stop()

    def take_received(self) -> "list[Received]":
        """Every request that has begun to arrive since the last call, whole or not, oldest first."""
        lines = http1.request(self.port, "GET", RECORD_PATH).body.splitlines()
        return [Received.from_json(line) for line in lines]

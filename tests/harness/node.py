"""Node, and tests that are written for its own runner."""

import subprocess
from pathlib import Path

from .paths import TOOLS

NODE = TOOLS / "bin/node"


def run_tests(file: Path, environment: dict[str, str], timeout: float) -> None:
    """Runs a file of tests; AssertionError with all that it printed when one of them fails."""
    run = subprocess.run([NODE, "--test", file.name], cwd=file.parent, env=environment, capture_output=True, text=True, timeout=timeout)
    assert run.returncode == 0, run.stdout + run.stderr

"""A run of the tests that is ended leaves no program behind."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from harness.paths import ROOT
from harness.waiting import eventually

TEST = """
import time
from pathlib import Path

from harness.processes import Process


def test_that_takes_long(tmp_path):
    child = Process(["sleep", "600"], tmp_path / "sleep.log")
    Path("started").write_text(str(child.pid))
    time.sleep(600)
"""


def test_sigterm_ends_a_session_with_what_it_started(tmp_path):
    """As scripts/test.sh passes a Ctrl-C on."""
    (tmp_path / "test_long.py").write_text(TEST)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "conftest", "-p", "no:cacheprovider", "test_long.py"]
    session = subprocess.Popen(command, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT / "tests")}, stdout=subprocess.DEVNULL)
    started = tmp_path / "started"
    child = Path("/proc", eventually(lambda: started.exists() and started.read_text(), 60, "the child has started"))
    try:
        session.send_signal(signal.SIGTERM)
        assert session.wait(60) == 2  # pytest's own status of an interrupted session
        assert not child.exists()
    finally:
        session.kill()
        if child.exists():
            os.kill(int(child.name), signal.SIGKILL)

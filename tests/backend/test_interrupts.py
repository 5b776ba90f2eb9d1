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
    while True:  # in short steps: a signal that comes just before a sleep is seen after it
        time.sleep(0.1)
"""


def test_sigterm_ends_a_session_with_what_it_started(tmp_path):
    """As scripts/test.sh passes a Ctrl-C on."""
    (tmp_path / "test_long.py").write_text(TEST)
    # With a folder of its own: pytest removes those of earlier sessions as it ends, however long that takes.
    options = ["-q", "-p", "conftest", "-p", "no:cacheprovider", f"--basetemp={tmp_path / 'base'}"]
    command = [sys.executable, "-m", "pytest", *options, "test_long.py"]
    variables = os.environ | {"PYTHONPATH": str(ROOT / "tests"), "PYTHONFAULTHANDLER": "1"}
    log = tmp_path / "session.log"
    with open(log, "wb") as output:
        session = subprocess.Popen(command, cwd=tmp_path, env=variables, stdout=output, stderr=output)
    started = tmp_path / "started"
    child = Path("/proc", eventually(lambda: started.exists() and started.read_text(), 60, "the child has started"))
    try:
        session.send_signal(signal.SIGTERM)
        assert session.wait(60) == 2  # pytest's own status of an interrupted session
        assert not child.exists()
    finally:
        if session.poll() is None:
            session.send_signal(signal.SIGABRT)  # at which it says where it is
            session.wait()
        print(log.read_text())
        if child.exists():
            os.kill(int(child.name), signal.SIGKILL)

"""A child process with a log: started, watched, always ended."""

import atexit
import os
import re
import signal
import subprocess
from pathlib import Path

from . import secrets

# What a process may take to end by itself after SIGTERM before it is killed.
GRACE_SECONDS = 5

_running: "set[Process]" = set()


class Process:
    """One child process; its output goes to `log`."""

    def __init__(self, arguments: list, log: Path, **options) -> None:
        self.log = log
        secrets.used_in_variables(options.get("env") or {})
        with open(log, "ab") as output:
            self._child = subprocess.Popen(
                [str(argument) for argument in arguments], stdout=output, stderr=output, stdin=subprocess.DEVNULL, **options
            )
        _running.add(self)

    @property
    def pid(self) -> int:
        return self._child.pid

    @property
    def exit_code(self) -> int | None:
        return self._child.poll()

    def wait(self, timeout: float) -> int:
        """The exit code, once the process has ended by itself."""
        code = self._child.wait(timeout)
        _running.discard(self)
        return code

    def terminate(self, timeout: float, with_signal: int = signal.SIGTERM) -> int:
        """Sends it a signal; the exit code with which it ends by itself."""
        self._child.send_signal(with_signal)
        return self.wait(timeout)

    def signal(self, number: int) -> None:
        self._child.send_signal(number)

    def stop(self) -> None:
        """Ends the process: SIGTERM, then SIGKILL when it does not listen."""
        _running.discard(self)
        if self._child.poll() is not None:
            return
        self._child.send_signal(signal.SIGTERM)
        try:
            self._child.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()

    def kill(self) -> None:
        """Ends the process at once, for those whose own end takes longer than a test can wait."""
        _running.discard(self)
        self._child.kill()
        self._child.wait()

    def log_text(self) -> str:
        return self.log.read_text(errors="replace")


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def memory_bytes(pid: int, name: str = "VmRSS") -> int:
    """A line of /proc/PID/status: resident memory, or at its peak VmHWM."""
    found = re.search(rf"^{name}:\s*(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return int(found[1]) * 1024


def cpu_seconds(pid: int) -> float:
    """What the process and those children that it has waited for have taken of the processors, however busy these are."""
    # proc(5): utime, stime, cutime and cstime, behind a name that may hold anything.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(int(ticks) for ticks in fields[11:15]) / os.sysconf("SC_CLK_TCK")


def running() -> "list[Process]":
    """Every process that was started and not ended yet."""
    return list(_running)


@atexit.register
def _stop_all() -> None:
    for process in running():
        process.stop()

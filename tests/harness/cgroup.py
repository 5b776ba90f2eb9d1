"""A control group of the kernel that bounds the memory of one process, as a container's does."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_VERSION_1 = Path("/sys/fs/cgroup/memory")
# Processes that have ended leave their group a little later.
_TRIES = 100


class Cgroup:
    """One group with a limit."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def command(self, *command: str | Path) -> list[str]:
        """Runs a command inside of the group from its first page on."""
        return ["/bin/sh", "-c", 'echo $$ > "$0/cgroup.procs" && exec "$@"', str(self.path), *map(str, command)]

    @property
    def peak(self) -> int:
        """The most bytes that the group has held."""
        return int((self.path / "memory.max_usage_in_bytes").read_text())


@contextmanager
def cgroup(limit: int) -> Iterator[Cgroup | None]:
    """A group of this many bytes; None where the machine makes none. It is always removed."""
    path = _VERSION_1 / f"embedding-gateway-test-{os.getpid()}"
    try:
        path.mkdir()
    except OSError:
        yield None
        return
    try:
        (path / "memory.limit_in_bytes").write_text(str(limit))
        yield Cgroup(path)
    finally:
        _remove(path)


def _remove(path: Path) -> None:
    for _ in range(_TRIES):
        try:
            path.rmdir()
            return
        except OSError:
            time.sleep(0.1)
    path.rmdir()

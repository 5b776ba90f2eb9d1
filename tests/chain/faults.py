"""What goes wrong in test_chaos.py: faults of the upstream, of the store, of processes and of the backend's clock."""

import os
import random
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

from harness.client import send
from harness.processes import children_of
from parts import Parts

# Debian's; scripts/setup.sh installs it.
FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)
# Below what a client or a part waits, so that what takes longer does not end.
LONGEST_DELAY_MS = 2000
SHAPES = ("reversed", "short", "long", "repeated_index", "nan", "infinity", "zeros", "wrong_dimensions", "mixed_dimensions")
SHAPES += ("bad_base64", "float_despite_base64")
STATUSES = (400, 401, 403, 404, 408, 413, 422, 429, 500, 502, 503, 504)
BODIES = ("", "{}", "null", '{"data":[]}', '{"object":"error","message":"overloaded","code":503}', "<html>bad gateway</html>")
# Seconds that the backend's clock is wrong by.
STEPS = (-86_400, -3_600, -30, -2, 0, 2, 30, 3_600, 86_400)


class Faults:
    """Breaks one thing at a time and mends it again; which, the random numbers say."""

    def __init__(self, parts: Parts, clock: Path, chosen: random.Random) -> None:
        self.told: list[str] = []
        self._parts, self._clock, self._random = parts, clock, chosen
        self._began = time.monotonic()
        # It takes half a minute to find its data again, and meanwhile other things break.
        self._store_returns: threading.Thread | None = None
        self._kinds: dict[Callable[[], None], int] = {
            self._upstream: 8,
            self._upstream_is_well: 3,
            self._keys: 1,
            self._store_hangs: 2,
            self._store_takes_nothing: 1,
            self._store_is_gone: 1,
            self._kill: 2,
            self._stall: 4,
            self._clock_steps: 3 if FAKETIME else 0,
        }

    @staticmethod
    def clock_variables(clock: Path) -> dict[str, str]:
        """With these a program's wall clock is off by what the file says; its monotonic clock is not."""
        clock.write_text("+0\n")
        if not FAKETIME:
            return {}
        fake = {"LD_PRELOAD": str(FAKETIME), "FAKETIME_TIMESTAMP_FILE": str(clock)}
        return fake | {"FAKETIME_DONT_FAKE_MONOTONIC": "1", "FAKETIME_CACHE_DURATION": "1"}

    def one(self) -> None:
        (kind,) = self._random.choices(list(self._kinds), list(self._kinds.values()))
        kind()

    def mend(self) -> None:
        """All that is broken without an end of its own."""
        if self._store_returns:
            self._store_returns.join()
        self._upstream_is_well()
        self._set("/keys", {})
        self._step(0)

    def _tell(self, what: str) -> None:
        self.told.append(f"{time.monotonic() - self._began:.1f} s: {what}")

    def _pause(self, least: float, most: float) -> None:
        time.sleep(self._random.uniform(least, most))

    def _set(self, path: str, what: dict | list) -> None:
        assert send(self._parts.standin.url, "PUT", path, what, {"content-type": "application/json"}).status == 200

    def _upstream(self) -> None:
        one = self._random
        fault = one.choice(
            [
                {"status": one.choice(STATUSES), "retry_after": one.choice(["0", "1", "7", "Fri, 31 Dec 1999 23:59:59 GMT"])},
                {"embeddings": one.choice(SHAPES)},
                {"embeddings": one.choice(SHAPES), "delay_ms": one.randrange(LONGEST_DELAY_MS)},
                {"delay_ms": one.randrange(LONGEST_DELAY_MS)},
                {"first_byte_delay_ms": one.randrange(LONGEST_DELAY_MS)},
                {"drop_connection": True},
                {"body": one.choice(BODIES)},
            ]
        )
        if one.random() < 0.5:
            fault["times"] = one.randrange(1, 20)
        self._tell(f"upstream: {fault}")
        self._set("/faults", fault)
        self._pause(0.2, 1.5)

    def _upstream_is_well(self) -> None:
        self._tell("upstream: well")
        self._set("/faults", [])

    def _keys(self) -> None:
        self._tell("the upstream takes no key")
        self._set("/faults", {"status": self._random.choice([401, 403])})
        self._pause(0.1, 0.5)
        self._upstream_is_well()

    def _is_store_there(self) -> bool:
        return not (self._store_returns and self._store_returns.is_alive())

    def _store_hangs(self) -> None:
        if not self._is_store_there():
            return
        self._tell("the store hangs")
        self._parts.s3.process.signal(signal.SIGSTOP)
        try:
            self._pause(0.2, 3)
        finally:
            self._parts.s3.process.signal(signal.SIGCONT)

    def _store_takes_nothing(self) -> None:
        if not self._is_store_there():
            return
        self._tell("the store can only be read")
        self._parts.s3.set_read_only(True)
        try:
            self._pause(0.5, 2)
        finally:
            self._parts.s3.set_read_only(False)

    def _store_is_gone(self) -> None:
        if not self._is_store_there():
            return
        self._tell("the store is gone")
        self._parts.s3.stop()
        self._pause(0, 2)
        self._store_returns = threading.Thread(target=self._parts.s3.start)
        self._store_returns.start()

    def _kill(self) -> None:
        name = self._random.choice(["backend", "varnish"])
        self._tell(f"{name} is killed")
        self._parts.kill(name)
        self._pause(0, 1)
        self._parts.start(name)

    def _stall(self) -> None:
        """As where a container has used up its share of the processor."""
        name = self._random.choice(Parts.names())
        pid = self._parts.pids()[name]
        # The process that serves is the child of the one that was started.
        pids = children_of(pid) if name == "varnish" else [pid]
        self._tell(f"{name} stalls")
        for number in (signal.SIGSTOP, signal.SIGCONT):
            for each in pids:
                os.kill(each, number)
            self._pause(0.05, 0.6)

    def _clock_steps(self) -> None:
        self._step(self._random.choice(STEPS))
        self._pause(0, 1)

    def _step(self, seconds: int) -> None:
        self._tell(f"the backend's clock is off by {seconds} s")
        changed = self._clock.with_suffix(".new")
        changed.write_text(f"{seconds:+}\n")
        changed.rename(self._clock)

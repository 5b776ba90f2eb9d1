"""Load of requests whose right answer is known: clients ask until they are told to stop, and compare each answer with it.

What a test asks, how fast and with how many clients is the test's own; see `Load`.
"""

import http.client
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from . import secrets
from .waiting import eventually

PATH = "/v1/embeddings"
REQUEST_SECONDS = 60
# After a failure a client does not hammer on a part that is down.
PAUSE_SECONDS = 0.05
# How far behind its rate a client tries to catch up.
CATCH_UP_SECONDS = 1.0


@dataclass(frozen=True)
class Question:
    """One request for embeddings, and the vectors that are its only right answer, as JSON has them; None if any will do."""

    body: bytes
    headers: dict[str, str]
    right: list | None

    def __post_init__(self) -> None:
        secrets.used_in_headers(self.headers)

    @classmethod
    def of(cls, body: bytes, key: str, right: list | None, **headers: str) -> "Question":
        """A name in `headers` has _ for -."""
        own = {name.replace("_", "-"): value for name, value in headers.items()}
        return cls(body, {"Authorization": f"Bearer {key}", "Content-Type": "application/json"} | own, right)


class Refused(Exception):
    """An answer that is not 200."""


# What a request ends in that brings no vectors.
NO_ANSWER = (Refused, OSError, http.client.HTTPException, KeyError, TypeError, ValueError)


@dataclass(frozen=True)
class Failure:
    """A request without a good answer: when it began and ended, and what came instead."""

    began: float
    ended: float
    why: str


@dataclass
class Tally:
    """What came back."""

    right: int = 0
    wrong: list[bytes] = field(default_factory=list)
    failed: list[Failure] = field(default_factory=list)
    # Right answers by the cache that gave them.
    caches: Counter[str] = field(default_factory=Counter)
    slowest: float = 0.0

    def failures_outside(self, down: Sequence[tuple[float, float]]) -> list[Failure]:
        """Failures of requests that no part was down for at any moment."""
        return [each for each in self.failed if not any(begun <= each.ended and each.began <= ended for begun, ended in down)]


class Client:
    """One connection after the other: each for one request, or kept open as an SDK's pool keeps them."""

    def __init__(self, url: str, keep_alive: bool) -> None:
        address = urlsplit(url)
        self._connection = http.client.HTTPConnection(address.hostname, address.port, timeout=REQUEST_SECONDS)
        self._keep_alive = keep_alive

    def ask(self, asked: Question) -> tuple[str, list]:
        """The cache that answered, and the vectors; raises one of `NO_ANSWER`."""
        kept = False
        try:
            self._connection.request("POST", PATH, asked.body, asked.headers)
            response = self._connection.getresponse()
            body = response.read()
            kept = self._keep_alive
        finally:
            if not kept:
                self.close()
        if response.status != 200:
            raise Refused(response.status, body[:200])
        cache = "Varnish" if "Varnish; hit" in response.headers.get("cache-status", "") else "backend"
        return cache, [item["embedding"] for item in json.loads(body)["data"]]

    def close(self) -> None:
        self._connection.close()


class Load:
    """Clients that ask what `choose` chooses, together at a given rate or each as fast as it is answered. Use as a context manager."""

    def __init__(
        self, url: str, choose: Callable[[random.Random], Question], *, clients: int = 8, per_second: int | None = None, keep_alive: bool = True
    ) -> None:
        self.tally = Tally()
        self._url, self._choose, self._keep_alive = url, choose, keep_alive
        self._pause = clients / per_second if per_second else 0.0
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._run, args=(seed,), daemon=True) for seed in range(clients)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def wait_for(self, answers: int, timeout: float = REQUEST_SECONDS) -> None:
        """Until so many more right answers have come."""
        enough = self.tally.right + answers
        try:
            eventually(lambda: self.tally.right >= enough, timeout, f"{answers} more right answers")
        except AssertionError as late:
            raise AssertionError(f"{late}; {self.tally}") from None

    def _run(self, seed: int) -> None:
        chosen, client = random.Random(seed), Client(self._url, self._keep_alive)
        due = time.monotonic()
        while True:
            due = max(due + self._pause, time.monotonic() - CATCH_UP_SECONDS)
            if self._ended.wait(due - time.monotonic()):
                break
            if not self._ask(client, self._choose(chosen)):
                self._ended.wait(PAUSE_SECONDS)
        client.close()

    def _ask(self, client: Client, asked: Question) -> bool:
        """Whether an answer came, right or wrong."""
        began = time.monotonic()
        try:
            cache, vectors = client.ask(asked)
        except NO_ANSWER as error:
            with self._lock:
                self.tally.failed.append(Failure(began, time.monotonic(), repr(error)))
            return False
        with self._lock:
            self.tally.slowest = max(self.tally.slowest, time.monotonic() - began)
            if asked.right in (None, vectors):
                self.tally.right += 1
                self.tally.caches[cache] += 1
            else:
                self.tally.wrong.append(asked.body)
        return True

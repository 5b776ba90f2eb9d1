"""Clients of the upstream's benchmark: a backlog, a bulk job, a caller with single inputs. Each client has a connection that it keeps."""

import http.client
import itertools
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

MODEL = "text-embedding-3-small"
PATH = "/v1/embeddings"
DIMENSIONS = 8
# What the stand-in takes 10 tokens for.
TEXT = "passage {:032d}"
TOKENS = 10
PATIENCE_SECONDS = 90


class Client:
    """One connection of one caller."""

    def __init__(self, url: str, key: str) -> None:
        address = urlsplit(url)
        self._connection = http.client.HTTPConnection(address.hostname, address.port, timeout=PATIENCE_SECONDS)
        self._headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}

    def embed(self, texts: list[str]) -> int:
        """The status; 0 where there is no answer."""
        body = json.dumps({"model": MODEL, "input": texts, "dimensions": DIMENSIONS, "encoding_format": "base64"})
        try:
            self._connection.request("POST", PATH, body, self._headers)
            answer = self._connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException):
            self._connection.close()
            return 0
        return answer.status

    def close(self) -> None:
        with suppress(OSError):
            self._connection.close()


# No text is ever asked twice.
_numbers = itertools.count()


def texts(count: int) -> list[str]:
    return [TEXT.format(number) for number in itertools.islice(_numbers, count)]


@dataclass(frozen=True)
class Drained:
    """What became of a backlog."""

    seconds: float
    errors: int


def drain(url: str, key: str, inputs: int, batch: int, clients: int) -> Drained:
    """So many clients ask for all inputs, each for one batch at a time."""
    batches = [texts(batch) for _ in range(inputs // batch)]
    left, lock = iter(batches), threading.Lock()

    def work() -> int:
        client, errors = Client(url, key), 0
        while True:
            with lock:
                own = next(left, None)
            if own is None:
                client.close()
                return errors
            errors += client.embed(own) != http.HTTPStatus.OK

    begun = time.monotonic()
    with ThreadPoolExecutor(clients) as pool:
        errors = sum(pool.map(lambda _: work(), range(clients)))
    return Drained(time.monotonic() - begun, errors)


@dataclass
class Job:
    """A bulk job that runs until it is told to stop."""

    stopped: threading.Event = field(default_factory=threading.Event)
    done: int = 0
    errors: int = 0


@contextmanager
def bulk_job(url: str, key: str, batch: int, clients: int) -> Iterator[Job]:
    """So many clients ask for batches without end."""
    job, lock = Job(), threading.Lock()

    def work() -> None:
        client = Client(url, key)
        while not job.stopped.is_set():
            good = client.embed(texts(batch)) == http.HTTPStatus.OK
            with lock:
                job.done, job.errors = job.done + good, job.errors + (not good)
        client.close()

    threads = [threading.Thread(target=work) for _ in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield job
    finally:
        job.stopped.set()
        for thread in threads:
            thread.join()


@dataclass(frozen=True)
class Asked:
    """What a caller at a steady rate saw."""

    took_ms: list[float]
    errors: int
    # When each was asked.
    at_seconds: list[float]


def ask_steadily(url: str, key: str, a_second: float, seconds: float, clients: int = 1) -> Asked:
    """One input at a time, so many a second in all; a request that is late keeps no other waiting as long as a client is free. There are no
    more clients than are needed at a time."""
    took, at, errors, idle, lock = [], [], [], [], threading.Lock()
    begun = time.monotonic()

    def ask() -> None:
        with lock:
            client = idle.pop() if idle else Client(url, key)
        asked = time.monotonic()
        status = client.embed(texts(1))
        with lock:
            idle.append(client)
            at.append(asked - begun)
            took.append((time.monotonic() - asked) * 1e3)
            if status != http.HTTPStatus.OK:
                errors.append(status)

    with ThreadPoolExecutor(clients) as pool:
        asking = []
        for turn in range(int(a_second * seconds)):
            time.sleep(max(0.0, begun + turn / a_second - time.monotonic()))
            asking.append(pool.submit(ask))
        for each in asking:
            each.result()
    for client in idle:
        client.close()
    return Asked(took, len(errors), at)

"""Load of requests whose right answer is known: each answer is compared with it, vector by vector."""

import base64
import hashlib
import json
import random
import socket
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

MODEL = "text-embedding-3-small"
# Small vectors: the load is on the requests, not on the bytes.
DIMENSIONS = 8
REQUEST_SECONDS = 30
# After a failure a client does not hammer on a part that is down.
PAUSE_SECONDS = 0.05


@dataclass(frozen=True)
class Question:
    """One request, and the vectors that are its only right answer."""

    head_and_body: bytes
    vectors: tuple[bytes, ...]


@dataclass
class Tally:
    """What came back."""

    right: int = 0
    wrong: list[str] = field(default_factory=list)
    failed: list[tuple[float, str]] = field(default_factory=list)
    caches: dict[str, int] = field(default_factory=dict)

    def failures_outside(self, down: Sequence[tuple[float, float]]) -> list[tuple[float, str]]:
        """Failures at a time when nothing was down."""
        return [(at, why) for at, why in self.failed if not any(begun <= at <= ended for begun, ended in down)]


def body(inputs: Sequence[str]) -> bytes:
    asked = {"model": MODEL, "input": list(inputs), "dimensions": DIMENSIONS, "encoding_format": "base64"}
    return json.dumps(asked).encode()


def question(url: str, key: str, inputs: Sequence[str], right: dict[str, bytes]) -> Question:
    host, data = urlsplit(url).netloc, body(inputs)
    head = (
        f"POST /v1/embeddings HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
    )
    return Question(head.encode() + data, tuple(right[text] for text in inputs))


class Client:
    """One connection after the other, as an SDK's pool keeps them."""

    def __init__(self, url: str) -> None:
        address = urlsplit(url)
        self._address = (address.hostname, address.port)
        self._socket: socket.socket | None = None

    def ask(self, asked: Question) -> tuple[int, dict[str, str], bytes]:
        try:
            return self._ask(asked)
        except (OSError, EOFError):
            self.close()
            raise

    def close(self) -> None:
        if self._socket:
            self._socket.close()
        self._socket = None

    def _ask(self, asked: Question) -> tuple[int, dict[str, str], bytes]:
        if not self._socket:
            self._socket = socket.create_connection(self._address, timeout=REQUEST_SECONDS)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.sendall(asked.head_and_body)
        head, _, rest = self._read_until(b"", lambda got: b"\r\n\r\n" in got).partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length = int(headers["content-length"])
        return int(first.split()[1]), headers, self._read_until(rest, lambda got: len(got) >= length)

    def _read_until(self, got: bytes, done) -> bytes:
        while not done(got):
            more = self._socket.recv(65536)
            if not more:
                raise EOFError("the connection ended in mid-answer")
            got += more
        return got


class Load:
    """Threads that ask at a given rate until they are told to stop. Use as a context manager."""

    def __init__(self, url: str, questions: Sequence[Question], per_second: int, threads: int = 8) -> None:
        self.tally = Tally()
        self._url, self._questions = url, questions
        self._pause = threads / per_second
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._run, args=(seed,)) for seed in range(threads)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _run(self, seed: int) -> None:
        chosen, client = random.Random(seed), Client(self._url)
        due = time.monotonic()
        while not self._ended.is_set():
            due = max(due + self._pause, time.monotonic() - 1)
            self._ended.wait(due - time.monotonic())
            if not self._ask(client, chosen.choice(self._questions)):
                self._ended.wait(PAUSE_SECONDS)
        client.close()

    def _ask(self, client: Client, asked: Question) -> bool:
        try:
            status, headers, answer = client.ask(asked)
        except (OSError, EOFError, KeyError, ValueError) as error:
            return self._failed(repr(error))
        if status != 200:
            return self._failed(f"{status} {answer[:200]!r}")
        vectors = tuple(base64.b64decode(item["embedding"]) for item in json.loads(answer)["data"])
        with self._lock:
            if vectors == asked.vectors:
                self.tally.right += 1
                cache = "Varnish" if "Varnish; hit" in headers["cache-status"] else "backend"
                self.tally.caches[cache] = self.tally.caches.get(cache, 0) + 1
            else:
                self.tally.wrong.append(hashlib.sha256(asked.head_and_body).hexdigest())
        return True

    def _failed(self, why: str) -> bool:
        with self._lock:
            self.tally.failed.append((time.monotonic(), why))
        return False

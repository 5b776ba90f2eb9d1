"""A backend that takes a request and breaks off gets it once, whatever Varnish still holds of it."""

import itertools
import socket
import threading
import time
from collections import Counter

import pytest
from harness.http1_wire import head
from harness.ports import free_port
from harness.waiting import eventually

from . import varnish
from .varnish import EMBEDDINGS, body_hash

CHAT = "/v1/chat/completions"
# Of bodies, each another.
numbers = itertools.count()


class BreakingBackend:
    """Answers the first request of each connection, and takes the second one without an answer."""

    def __init__(self) -> None:
        self.port = free_port()
        self.arrived: Counter[str] = Counter()
        self.connections = 0
        self._socket = socket.create_server(("127.0.0.1", self.port), backlog=64)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as reader:
            request = self._read(reader)
            if request == "GET /readyz":
                connection.sendall(head("HTTP/1.1 200 OK", [("Content-Length", "0"), ("Connection", "close")]))
                return
            self.connections += 1
            connection.sendall(head("HTTP/1.1 200 OK", [("Content-Length", "0"), ("Cache-Control", "max-age=1")]))
            self._read(reader)

    def _read(self, reader) -> str:
        method, path, _ = (reader.readline().decode() or "- - -").split()
        # Of a connection that has ended every further line is empty.
        fields = [line.decode().lower() for line in itertools.takewhile(lambda line: line.strip(), reader)]
        reader.read(sum(int(field.split(":")[1]) for field in fields if field.startswith("content-length:")))
        if path not in ("-", "/readyz"):
            self.arrived[f"{method} {path}"] += 1
        return f"{method} {path}"

    def stop(self) -> None:
        self._socket.close()


@pytest.fixture(scope="module")
def breaking():
    running = BreakingBackend()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def started(breaking, public_folder, tmp_path_factory):
    folder = public_folder / tmp_path_factory.mktemp("varnish").name
    folder.mkdir()
    running = varnish.start(folder, breaking.port)
    yield running
    running.process.stop()


def leave_idle_connection(started: varnish.Varnish) -> None:
    """A call that passes leaves one to Varnish, unless it meets one that was left before."""
    recycled = started.counter("MAIN.backend_recycle")
    assert 200 in (started.request("POST", CHAT, body=b"{}").status for _ in range(2))
    eventually(lambda: started.counter("MAIN.backend_recycle") > recycled, what="the connection is free", interval=0.05)


@pytest.mark.parametrize(
    ("method", "path", "headers", "body"),
    [
        ("POST", EMBEDDINGS, {}, b"{}"),
        ("POST", EMBEDDINGS, {"Cache-Control": "no-cache"}, b"{}"),
        ("POST", "/v1/batches/b/cancel", {}, None),
        ("POST", "/v1/batches/b/cancel", {"Content-Length": "0"}, b""),
        ("DELETE", "/v1/files/f", {}, None),
        ("GET", "/v1/models", {}, None),
        ("HEAD", "/v1/models", {}, None),
    ],
    ids=["miss", "forced", "no-body", "empty", "delete", "get", "head"],
)
def test_what_could_be_sent_twice_never_meets_a_used_connection(breaking, started, method, path, headers, body):
    leave_idle_connection(started)
    for _ in range(2):
        before = breaking.arrived[f"{method} {path}"]
        key = {"X-Body-Hash": body_hash(next(numbers))} if body == b"{}" else {}
        assert started.request(method, path, headers | key, body).status == 200
        assert breaking.arrived[f"{method} {path}"] == before + 1


def test_a_body_that_passes_uses_a_connection_again_and_is_not_sent_twice(breaking, started):
    leave_idle_connection(started)
    before = (breaking.arrived[f"POST {CHAT}"], breaking.connections)
    assert started.request("POST", CHAT, body=b"{}").status == 503
    assert (breaking.arrived[f"POST {CHAT}"] - 1, breaking.connections) == before


def test_a_refetch_is_not_sent_twice(breaking, started):
    number, path = next(numbers), f"POST {EMBEDDINGS}"
    assert started.embed(number).status == 200
    before = breaking.arrived[path]
    time.sleep(1.1)  # the answer is good for a second
    leave_idle_connection(started)
    assert started.embed(number).from_varnish
    eventually(lambda: breaking.arrived[path] > before, what="the refetch", interval=0.05)
    assert (breaking.arrived[path], started.counter("MAIN.backend_retry")) == (before + 1, 0)

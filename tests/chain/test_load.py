"""The load generator notices what a test relies on it to notice."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from harness.load import Failure, Load, Question, Tally
from harness.secrets import secret
from harness.waiting import eventually


@contextmanager
def upstream(status: int = 200, body: bytes = b"", cache: str = "") -> Iterator[tuple[str, set]]:
    """Answers everything like this; the second is which connections it was asked on."""
    connections = set()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            connections.add(self.client_address)
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.send_header("cache-status", cache)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", connections
    server.shutdown()
    server.server_close()


def vectors(*found: str) -> bytes:
    return json.dumps({"data": [{"embedding": vector} for vector in found]}).encode()


def asked(right: list | None):
    question = Question.of(b"{}", secret("load"), right)
    return lambda _: question


@pytest.mark.parametrize(("cache", "name"), [("embedding-gateway; hit, Varnish; hit", "Varnish"), ("embedding-gateway; hit", "backend")])
def test_right_answers_are_counted_by_the_cache_that_gave_them(cache, name):
    with upstream(body=vectors("AAAA"), cache=cache) as (url, _), Load(url, asked(["AAAA"])) as load:
        load.wait_for(20)
    assert load.tally.right >= 20
    assert load.tally.caches == {name: load.tally.right}
    assert (load.tally.wrong, load.tally.failed) == ([], [])


@pytest.mark.parametrize("right", [["AAAB"], ["AAAA", "AAAA"], []])
def test_another_vector_is_wrong(right):
    with upstream(body=vectors("AAAA")) as (url, _), Load(url, asked(right)) as load:
        eventually(lambda: load.tally.wrong)
    assert (load.tally.right, load.tally.failed) == (0, [])


@pytest.mark.parametrize(
    "answer", [{"status": 503, "body": b"no healthy upstream"}, {"body": b"{}"}, {"body": b""}], ids=["503", "no vectors", "nothing"]
)
def test_what_is_no_answer_has_failed_whatever_is_right(answer):
    with upstream(**answer) as (url, _), Load(url, asked(None)) as load:
        eventually(lambda: load.tally.failed)
    assert (load.tally.right, load.tally.wrong) == (0, [])


def test_a_connection_that_is_refused_has_failed():
    with upstream() as (url, _):
        pass
    with Load(url, asked(None)) as load:
        eventually(lambda: load.tally.failed)
    assert "refused" in load.tally.failed[0].why


@pytest.mark.parametrize("keep_alive", [True, False])
def test_a_connection_is_kept_or_made_anew(keep_alive):
    with upstream(body=vectors("AAAA")) as (url, connections), Load(url, asked(None), clients=2, keep_alive=keep_alive) as load:
        load.wait_for(20)
    assert 1 <= len(connections) <= 2 if keep_alive else len(connections) >= 20


def test_the_rate_is_that_of_all_clients_together():
    began = time.monotonic()
    with upstream(body=vectors("AAAA")) as (url, _), Load(url, asked(None), per_second=50) as load:
        load.wait_for(50)
    assert load.tally.right <= (time.monotonic() - began) * 50


def test_a_failure_is_excused_only_if_its_part_was_down_while_it_lasted():
    tally = Tally(failed=[Failure(0, 1, "before"), Failure(2, 4, "began before"), Failure(4, 5, "within"), Failure(5, 9, "ended after"), Failure(7, 8, "after")])
    assert [each.why for each in tally.failures_outside([(3, 6)])] == ["before", "after"]

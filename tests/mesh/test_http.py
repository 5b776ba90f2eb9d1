"""The HTTP that clients really write, at the ingress gateway: answered, hashed, refused in OpenAI's envelope, and never waiting for the slow."""

import http.client
import json
import socket
import time
from contextlib import ExitStack

import pytest
from asking import ask, body_of, embed, fresh
from cluster.gateway import HOST
from harness.client import Answer

PORT = 80
SECONDS = 60
OFFERS = {
    "an offer of TLS": "Connection: Upgrade\r\nUpgrade: TLS/1.2\r\n",
    "an offer of h2c": "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAAA\r\n",
    "an underscore in a name": "my_header: 1\r\n",
    "104 headers": "".join(f"a{number}: b\r\n" for number in range(104)),
    "a long header": f"a: {'x' * 70_000}\r\n",
}
REFUSED = {
    "metrics": (f"GET /metrics HTTP/1.1\r\nHost: {HOST}\r\n\r\n", 404),
    "a purge": (f"PURGE /v1/embeddings HTTP/1.1\r\nHost: {HOST}\r\n\r\n", 403),
    "250 headers": (f"GET /v1/models HTTP/1.1\r\nHost: {HOST}\r\n" + "a: b\r\n" * 250 + "\r\n", 431),
    "no HTTP": ("hello\r\n\r\n", 400),
}
# More than a subset has places, and slower than the filter waits for a body that does not grow.
SLOW, PAUSE_SECONDS, ROUNDS = 1_100, 1.5, 2
AT_ONCE_SECONDS, TRIES = 5.0, 10


def told(text: str, body: bytes = b"") -> tuple[int, http.client.HTTPMessage, bytes]:
    """What the gateway answers to these bytes."""
    with socket.create_connection((HOST, PORT), SECONDS) as connection:
        connection.sendall(text.encode() + body)
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        return answer.status, answer.headers, answer.read()


def embeddings(version: str, key: str, more: str, body: bytes) -> str:
    return f"POST /v1/embeddings HTTP/{version}\r\nHost: {HOST}\r\nAuthorization: Bearer {key}\r\n{more}Content-Length: {len(body)}\r\n\r\n"


def assert_cached(version: str, key: str, more: str) -> None:
    """Paid for, then from Varnish: it had its hash."""
    body = body_of(fresh())
    for wanted in ("stored", "Varnish; hit"):
        status, headers, answer = told(embeddings(version, key, more, body), body)
        assert status == 200, answer
        assert wanted in headers["Cache-Status"]


@pytest.mark.parametrize("what", OFFERS)
def test_what_clients_write_is_answered_and_hashed(gateway, key, what):
    assert_cached("1.1", key, OFFERS[what])


def test_http_1_0_is_answered_and_hashed(gateway, key):
    assert_cached("1.0", key, "")


def test_a_client_that_expects_100_is_answered(gateway, key):
    """Istio's proxies leave the 100 to Varnish, and so the filter may not hold the request: it goes past the cache."""
    body = body_of(fresh())
    assert told(embeddings("1.1", key, "Expect: 100-continue\r\n", body), body)[0] == 200


@pytest.mark.parametrize("what", REFUSED)
def test_a_refusal_is_in_openais_envelope(gateway, what):
    text, expected = REFUSED[what]
    status, headers, body = told(text)
    assert (status, headers["Content-Type"]) == (expected, "application/json")
    error = json.loads(body)["error"]
    assert error.keys() == {"message", "type", "param", "code"} and error["type"] == "invalid_request_error"


def test_a_neighbours_refusal_is_not(gateway):
    assert told("GET / HTTP/1.1\r\nHost: neighbour.test\r\n\r\n")[::2] == (404, b"")


def answered_at_once(question) -> Answer:
    """A call that waits for a place is slow each time, one on a busy machine is not."""
    seconds = []
    for _ in range(TRIES):
        begin = time.monotonic()
        answer = question()
        seconds.append(time.monotonic() - begin)
        if seconds[-1] < AT_ONCE_SECONDS:
            return answer
    raise AssertionError(f"slow each time: {seconds}")


def test_slow_bodies_do_not_keep_the_others_waiting(gateway, key):
    text = fresh()
    embed(text, key)
    with ExitStack() as stack:
        slow = [stack.enter_context(socket.create_connection((HOST, PORT), SECONDS)) for _ in range(SLOW)]
        for each in slow:
            each.sendall(f"POST /v1/chat/completions HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 100000\r\n\r\nx".encode())
        for _ in range(ROUNDS):
            time.sleep(PAUSE_SECONDS)
            for each in slow:
                try:
                    each.send(b"x")
                except OSError:
                    pass
            assert answered_at_once(lambda: ask("GET", "/healthz")).status == 200
            assert answered_at_once(lambda: embed(text, key)).from_varnish
            assert answered_at_once(lambda: ask("PURGE", "/v1/embeddings")).status == 403

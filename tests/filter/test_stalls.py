"""A request that makes no progress is held for `stallTimeout` and no longer; one that makes progress is held to its end."""

import time

import pytest
from harness import http1, http2
from harness.received import Received

from .attachments import DEFAULT_STALL_SECONDS, HEADER, chain
from .expectations import assert_hashed, assert_unhashed

# What the promise allows on top of stallTimeout.
GRACE_SECONDS = 1.0


def seconds_until_answered(port: int, sent: bytes, headers=()) -> "tuple[float, Received]":
    """How long a body that stops after `sent` waits for an answer that needs no whole body."""
    with http1.Connection(port) as connection:
        connection.send_head("POST", "/early", [("Transfer-Encoding", "chunked"), *headers])
        if sent:
            connection.send(b"%x\r\n%b\r\n" % (len(sent), sent))
        begin = time.monotonic()
        received = connection.read_response().received()
        waited = time.monotonic() - begin
        connection.send_chunked([])
    return waited, received


@pytest.mark.parametrize("sent", [b"", b"x", b"x" * 5000])
def test_a_body_that_stops_is_let_go_unhashed_after_the_default_second(gateway, sent):
    with gateway.counting() as counted:
        waited, received = seconds_until_answered(gateway.port, sent, [(HEADER, "f" * 64)])
    assert 0.5 * DEFAULT_STALL_SECONDS < waited < DEFAULT_STALL_SECONDS + GRACE_SECONDS
    assert received.values(HEADER) == []
    assert counted == {"skipped.stalled": 1}
    assert gateway.held() == 0


@pytest.mark.parametrize("milliseconds", [100, 300, 2000])
def test_the_time_limit_is_the_configured_one(start, module, attachment, milliseconds):
    gateway = start(chain(attachment, module, stallTimeout=milliseconds))
    waited, _ = seconds_until_answered(gateway.port, b"x")
    assert milliseconds / 2000 < waited < milliseconds / 1000 + GRACE_SECONDS


def test_a_body_that_stops_over_http2_is_let_go_unhashed(gateway):
    with http2.Connection(gateway.port) as connection:
        stream = connection.open("POST", "/early")
        connection.data(stream, b"x")
        received = connection.response(stream).received()
    assert received.values(HEADER) == []


def test_a_slow_body_that_goes_on_is_hashed(start, module, attachment):
    """Pauses of half the limit, altogether longer than the limit."""
    gateway = start(chain(attachment, module, stallTimeout=1000))
    body = b"slowly"
    with http1.Connection(gateway.port) as connection:
        connection.send_head("POST", "/", [("Content-Length", str(len(body)))])
        for place in range(len(body)):
            time.sleep(0.4)
            connection.send(body[place : place + 1])
        assert_hashed(connection.read_response(), body)


def test_what_comes_after_a_stall_arrives_whole(gateway):
    with http1.Connection(gateway.port) as connection:
        connection.send_head("POST", "/", [("Transfer-Encoding", "chunked")])
        connection.send(b"5\r\nfirst\r\n")
        gateway.holds(1)
        gateway.holds(0)
        connection.send_chunked([b" second", b" third"])
        assert_unhashed(connection.read_response(), b"first second third")


def test_a_stalled_request_does_not_free_its_neighbours(gateway):
    with http1.Connection(gateway.port) as stalled, http1.Connection(gateway.port) as lively:
        stalled.send_head("POST", "/early", [("Content-Length", "10")])
        lively.send_head("POST", "/", [("Content-Length", "40")])
        gateway.holds(2)
        sent = b""
        while gateway.held() == 2:
            lively.send(b"x")
            sent += b"x"
            time.sleep(0.1)
        rest = b"y" * (40 - len(sent))
        lively.send(rest)
        assert_hashed(lively.read_response(), sent + rest)
        assert stalled.read_response().received().values(HEADER) == []


def test_many_stalled_requests_are_all_let_go(gateway):
    with gateway.counting() as counted, http2.Connection(gateway.port) as connection:
        streams = [connection.open("POST", "/early") for _ in range(100)]
        for stream in streams:
            connection.data(stream, b"x")
        begin = time.monotonic()
        for stream in streams:
            assert connection.response(stream).received().values(HEADER) == []
        assert time.monotonic() - begin < DEFAULT_STALL_SECONDS + GRACE_SECONDS
    assert counted == {"skipped.stalled": 100}

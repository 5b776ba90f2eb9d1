"""The filter holds a request that makes no progress for `stallTimeout` and no longer, and one that makes progress to
its end."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from harness import http1, http2
from harness.http1_wire import chunk
from harness.received import Received

from .attachments import DEFAULT_STALL_SECONDS, GRACE_SECONDS, HEADER, NATIVE, PAIR, SINGLE, chain
from .expectations import assert_arrived, assert_hashed, assert_unhashed, body_of
from .transports import TRAILER

FLAGGED_PAIR = "flagged pair"


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


def http2_end(connection, stream: int, part: bytes) -> None:
    connection.data(stream, part, end=True)


def http2_trailers(connection, stream: int, part: bytes) -> None:
    connection.data(stream, part)
    connection.trailers(stream, [TRAILER])


def test_a_body_that_stops_is_let_go_unhashed_after_the_default_second(hasty):
    with hasty.counting() as counted, ThreadPoolExecutor() as clients:
        for each in [clients.submit(seconds_until_answered, hasty.port, sent, [(HEADER, "f" * 64)]) for sent in (b"", b"x", b"x" * 5000)]:
            waited, received = each.result()
            assert 0.5 * DEFAULT_STALL_SECONDS < waited < DEFAULT_STALL_SECONDS + GRACE_SECONDS
            assert received.values(HEADER) == []
    assert counted == {"skipped.stalled": 3}
    assert hasty.held() == 0


@pytest.mark.parametrize("milliseconds", [300, 2000])
def test_the_time_limit_is_the_configured_one(start, module, attachment, milliseconds):
    gateway = start(chain(attachment, module, stallTimeout=milliseconds))
    waited, _ = seconds_until_answered(gateway.port, b"x")
    assert milliseconds / 2000 < waited < milliseconds / 1000 + GRACE_SECONDS


def test_a_body_that_stops_over_http2_is_let_go_unhashed(hasty):
    with http2.Connection(hasty.port) as connection:
        stream = connection.open("POST", "/early")
        connection.data(stream, b"x")
        received = connection.response(stream).received()
    assert received.values(HEADER) == []


def test_a_slow_body_that_goes_on_is_hashed(start, module, attachment):
    """Pauses of less than half the limit, altogether longer than the limit."""
    gateway = start(chain(attachment, module, stallTimeout=2000))
    body = b"slow"
    with http1.Connection(gateway.port) as connection:
        connection.send_head("POST", "/", [("Content-Length", str(len(body)))])
        for place in range(len(body)):
            time.sleep(0.7)
            connection.send(body[place : place + 1])
        assert_hashed(connection.read_response(), body)


@pytest.fixture(params=[PAIR, FLAGGED_PAIR, SINGLE, NATIVE])
def stalling(request, start, module):
    """A short time limit, in each attachment, and in a pair that got the flag of a single filter."""
    flagged = request.param == FLAGGED_PAIR
    filters = chain(PAIR if flagged else request.param, module, stallTimeout=100)
    for each in filters if flagged else []:
        each["typed_config"]["config"]["allow_on_headers_stop_iteration"] = True
    return start(filters)


# Each part is a chunk or a frame that arrives alone: some Envoys lost the first after a stall (envoy#46841).
PARTS = [body_of(size)[size // 2 :] for size in (10, 2, 70_000, 1000, 130_000)]


@pytest.mark.parametrize("before", [b"", b"x", body_of(100_000)], ids=["nothing", "a_byte", "much"])
@pytest.mark.parametrize("pause", [0, 0.05])
def test_what_comes_after_a_stall_arrives_whole(stalling, before, pause):
    with http1.Connection(stalling.port) as connection:
        with stalling.letting_go():
            connection.send_head("POST", "/", [("Transfer-Encoding", "chunked")])
            connection.send(chunk(before) if before else b"")
        for part in PARTS:
            connection.send(chunk(part))
            time.sleep(pause)
        connection.send_chunked([])
        assert_unhashed(connection.read_response(), before + b"".join(PARTS))


@pytest.mark.parametrize("before", [b"x", body_of(40_000)], ids=["a_byte", "much"])
@pytest.mark.parametrize("ends", [http2_end, http2_trailers])
def test_what_comes_after_a_stall_over_http2_arrives_whole(stalling, before, ends):
    with http2.Connection(stalling.port) as connection:
        with stalling.letting_go():
            stream = connection.open("POST", "/")
            connection.data(stream, before)
        for part in PARTS[:-1]:
            connection.data(stream, part)
            time.sleep(0.02)
        ends(connection, stream, PARTS[-1])
        assert_unhashed(connection.response(stream), before + b"".join(PARTS))


def test_a_stalled_request_does_not_free_its_neighbours(hasty):
    with http1.Connection(hasty.port) as stalled, http1.Connection(hasty.port) as lively:
        stalled.send_head("POST", "/early", [("Content-Length", "10")])
        lively.send_head("POST", "/", [("Content-Length", "40")])
        hasty.holds(2)
        sent = b""
        while hasty.held() == 2:
            lively.send(b"x")
            sent += b"x"
            time.sleep(0.1)
        rest = b"y" * (40 - len(sent))
        lively.send(rest)
        assert_hashed(lively.read_response(), sent + rest)
        assert stalled.read_response().received().values(HEADER) == []


def test_many_stalled_requests_are_all_let_go(hasty):
    with hasty.counting() as counted, http2.Connection(hasty.port) as connection:
        streams = [connection.open("POST", "/early") for _ in range(100)]
        for stream in streams:
            connection.data(stream, b"x")
        begin = time.monotonic()
        for stream in streams:
            assert connection.response(stream).received().values(HEADER) == []
        assert time.monotonic() - begin < DEFAULT_STALL_SECONDS + GRACE_SECONDS
    assert counted == {"skipped.stalled": 100}


def test_a_body_that_ends_just_when_its_time_is_up_is_answered_and_counted_once(start, module, attachment):
    """Both ends of the wait race: the hash is right or absent, and no request counts twice."""
    gateway = start(chain(attachment, module, stallTimeout=100))
    requests = 600

    def race(turn: int) -> bool:
        with http1.Connection(gateway.port) as connection:
            connection.send_head("POST", "/", [("Content-Length", "4")])
            time.sleep(0.09 + turn % 60 / 1000)
            connection.send(b"body")
            received = assert_arrived(connection.read_response(), b"body")
            assert received.values(HEADER) in ([], [received.sha256])
            return received.values(HEADER) != []

    with gateway.counting() as counted, ThreadPoolExecutor(30) as clients:
        hashed = sum(clients.map(race, range(requests)))
    assert 0 < hashed < requests
    assert counted == {"hashed": hashed, "skipped.stalled": requests - hashed}
    gateway.holds(0)


def test_a_client_that_waits_for_the_upstreams_100_is_not_kept_waiting(start, module, attachment):
    """Where Envoy leaves 100-continue to the upstream, the upstream must see the headers before there is a body."""
    gateway = start(chain(attachment, module), manager_options={"proxy_100_continue": True})
    with http1.Connection(gateway.port) as connection:
        connection.send_head("POST", "/early", [("Expect", "100-continue"), ("Content-Length", "4")])
        assert connection.read_response().received().values(HEADER) == []
        connection.send(b"body")

"""Listeners with buffers smaller than the cap: Envoy cannot hold what the filter would hash."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from harness import http1, http2

from .attachments import DEFAULT_STALL_SECONDS, GRACE_SECONDS, HEADER, PAIR, by_default, chain
from .expectations import assert_arrived, assert_hashed, assert_unhashed, body_of
from .transports import TRANSPORTS

KI = 1 << 10
# The buffers of Istio's profile for the edge of a mesh.
H1_BUFFER, H2_WINDOW = 32 * KI, 64 * KI
# HTTP/2 lets Envoy offer no window below 65,535 bytes, 1 less than 64 KiB.
SMALL_BUFFERS = {
    "listener_options": {"per_connection_buffer_limit_bytes": H1_BUFFER},
    "manager_options": {"http2_protocol_options": {"initial_stream_window_size": H2_WINDOW, "initial_connection_window_size": 1 << 20}},
}
SIZES = (1, 31 * KI, 32 * KI, 33 * KI, 63 * KI, 64 * KI, 65 * KI, 200 * KI, 1 << 20, 2 << 20)
FORGED = [(HEADER, "f" * 64)]
STALL_MILLISECONDS = 400


@pytest.fixture
def small(start, module, attachment):
    return start(chain(attachment, module, stallTimeout=STALL_MILLISECONDS), **SMALL_BUFFERS)


@pytest.fixture
def fitting(start, module, attachment):
    """The cap is the smaller buffer, and what waits for the time limit waits in vain."""
    return start(chain(attachment, module, maxBodyBytes=H1_BUFFER), **SMALL_BUFFERS)


@pytest.mark.elsewhere(transport=["with_length", "chunked_with_trailers", "over_http2"])
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_every_body_is_answered_in_time(small, transport):
    """All sizes at once: each waits for its own time limit, none for another's."""
    with ThreadPoolExecutor(len(SIZES)) as clients:
        list(clients.map(lambda size: answered_in_time(small.port, transport, body_of(size)), SIZES))
    small.holds(0)


def answered_in_time(port: int, transport: str, body: bytes) -> None:
    begin = time.monotonic()
    response = TRANSPORTS[transport](port, body, FORGED)
    assert time.monotonic() - begin < STALL_MILLISECONDS / 1000 + GRACE_SECONDS
    received = assert_arrived(response, body)
    assert received.values(HEADER) in ([], [received.sha256])


@pytest.mark.parametrize("size", [31 * KI, 32 * KI])
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_what_fits_into_the_buffer_is_hashed(fitting, transport, size):
    body = body_of(size)
    assert_hashed(TRANSPORTS[transport](fitting.port, body, FORGED), body)


@pytest.mark.parametrize("size", [H1_BUFFER + 1, 33 * KI, 100 * KI, 1 << 20])
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_with_the_cap_at_the_buffer_nothing_stalls(fitting, transport, size):
    body = body_of(size)
    assert_unhashed(TRANSPORTS[transport](fitting.port, body, FORGED), body)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_of_many_bodies_just_over_the_buffer_none_stalls(fitting, transport):
    body = body_of(33 * KI)
    for _ in range(100):
        assert_unhashed(TRANSPORTS[transport](fitting.port, body), body)


def test_a_stall_for_want_of_buffer_is_counted(start, module):
    gateway = start(by_default(PAIR, module), **SMALL_BUFFERS)
    for client in (http1, http2):
        with gateway.counting() as counted:
            body = body_of(500 * KI)
            assert_unhashed(client.request(gateway.port, "POST", "/", FORGED, body), body)
        assert counted == {"skipped.stalled": 1}


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_without_room_above_the_cap_what_is_over_it_goes_on(start, module, attachment, transport):
    """Envoy answers 413 to what outgrows its buffer, unless the filter stops it from reading in time."""
    gateway = start(chain(attachment, module))
    for size in ((1 << 20) - 1, 1 << 20):
        assert_hashed(TRANSPORTS[transport](gateway.port, body_of(size), FORGED), body_of(size))
    body = body_of((1 << 20) + 1)
    with gateway.counting() as counted:
        assert_unhashed(TRANSPORTS[transport](gateway.port, body, FORGED), body)
    assert counted == {"skipped.too_large": 1}


def test_streams_that_share_one_small_window_are_all_answered(start, module, attachment):
    """What is held uses up the window of the connection, which every stream on it needs."""
    options = {"http2_protocol_options": {"initial_stream_window_size": H2_WINDOW, "initial_connection_window_size": H2_WINDOW}}
    gateway = start(by_default(attachment, module), manager_options=options)
    body = body_of(40 * KI)
    with http2.Connection(gateway.port) as connection:
        begin = time.monotonic()
        streams = [connection.open("POST") for _ in range(30)]
        for place in range(0, len(body), 8 * KI):
            for stream in streams:
                connection.data(stream, body[place : place + 8 * KI], end=place + 8 * KI == len(body))
        for stream in streams:
            received = assert_arrived(connection.response(stream), body)
            assert received.values(HEADER) in ([], [received.sha256])
        assert time.monotonic() - begin < DEFAULT_STALL_SECONDS + GRACE_SECONDS
    gateway.holds(0)

"""Bodies of every size, sent by every transport: hashed up to the cap, unhashed over it, never changed."""

import pytest
from harness import http1, http2
from harness.http1_wire import END, LAST_CHUNK, chunk, head

from .attachments import DEFAULT_CAP, chain
from .expectations import assert_hashed, assert_unhashed, body_of
from .transports import TRAILER, TRANSPORTS, WITH_TRAILERS

KI, MI = 1 << 10, 1 << 20
# 55 to 65 surround SHA-256's padding and block; the rest surrounds Envoy's buffers and the cap.
SIZES = (0, 1, 55, 56, 63, 64, 65, 4 * KI, 64 * KI, MI - 1, MI, MI + 1, 5 * MI)


def counter_of(size: int, cap: int = DEFAULT_CAP) -> str:
    """The one counter that a body of this size moves."""
    if size == 0:
        return "skipped.no_body"
    return "hashed" if size <= cap else "skipped.too_large"


@pytest.mark.elsewhere(size=[0, 65, 64 * KI, MI, MI + 1, 5 * MI])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_the_header_is_the_sha256_up_to_the_cap_and_absent_over_it(gateway, transport, size):
    body = body_of(size)
    with gateway.counting() as counted:
        response = TRANSPORTS[transport](gateway.port, body)
    right = assert_hashed if 0 < size <= DEFAULT_CAP else assert_unhashed
    received = right(response, body)
    assert counted == {counter_of(size): 1}
    assert ([*TRAILER] in received.trailers) == (transport in WITH_TRAILERS)


@pytest.mark.natively(transport=["with_length", "chunked_with_trailers", "over_http2"])
@pytest.mark.parametrize("size", [99, 100, 101, 3000])
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_cap_of_one_hundred_bytes_is_a_cap_of_one_hundred_bytes(start, module, attachment, transport, size):
    gateway = start(chain(attachment, module, maxBodyBytes=100))
    body = body_of(size)
    with gateway.counting() as counted:
        response = TRANSPORTS[transport](gateway.port, body)
    (assert_hashed if size <= 100 else assert_unhashed)(response, body)
    assert counted == {counter_of(size, cap=100): 1}


@pytest.mark.natively(method=["GET"])
@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE", "OPTIONS", "PURGE"])
def test_the_method_does_not_matter(gateway, method):
    for client in (http1, http2):
        received = assert_hashed(client.request(gateway.port, method, "/m?q=1", body=b"body"), b"body")
        assert (received.method, received.path) == (method, "/m?q=1")


def test_a_request_without_a_body_has_no_header(gateway):
    with gateway.counting() as counted:
        for client in (http1, http2):
            assert_unhashed(client.request(gateway.port, "GET"))
            assert_unhashed(client.request(gateway.port, "POST"))
            assert client.request(gateway.port, "HEAD").status == 200
    assert counted == {"skipped.no_body": 6}


def test_an_http2_body_of_padding_alone_is_empty(gateway):
    with http2.Connection(gateway.port) as connection:
        stream = connection.open("POST")
        connection.data(stream, b"", padding=200)
        connection.data(stream, b"", padding=0, end=True)
        assert_unhashed(connection.response(stream))


def test_padding_is_no_part_of_the_body(gateway):
    with http2.Connection(gateway.port) as connection:
        stream = connection.open("POST")
        connection.data(stream, b"bo", padding=255)
        connection.data(stream, b"dy", padding=1, end=True)
        assert_hashed(connection.response(stream), b"body")


def test_an_http2_content_length_is_no_promise_needed(gateway):
    body = body_of(DEFAULT_CAP)
    with http2.Connection(gateway.port) as connection:
        stream = connection.open("POST", headers=[("content-length", str(len(body)))])
        connection.data(stream, body, end=True)
        assert_hashed(connection.response(stream), body)


def test_chunks_of_one_byte_are_hashed(gateway):
    body = body_of(3000)
    with http1.Connection(gateway.port) as connection:
        connection.send_head("POST", "/", [("Transfer-Encoding", "chunked")])
        connection.send_chunked(body[i : i + 1] for i in range(len(body)))
        assert_hashed(connection.read_response(), body)


def test_chunk_extensions_are_no_part_of_the_body(gateway):
    with http1.Connection(gateway.port) as connection:
        connection.send_head("POST", "/", [("Transfer-Encoding", "chunked")])
        connection.send(b"4;name=value\r\nbody\r\n" + LAST_CHUNK + END)
        assert_hashed(connection.read_response(), b"body")


def test_every_request_of_a_kept_connection_has_its_own_hash(gateway):
    with http1.Connection(gateway.port) as connection:
        for size in range(200):
            body = body_of(size)
            right = assert_hashed if size else assert_unhashed
            right(connection.request("POST", body=body), body)


def test_pipelined_requests_each_have_their_own_hash(gateway):
    def whole(body: bytes) -> bytes:
        fields = [("Host", "test.local"), ("Content-Length", str(len(body)))]
        return head(b"POST / HTTP/1.1", fields) + body

    def in_chunks(body: bytes) -> bytes:
        fields = [("Host", "test.local"), ("Transfer-Encoding", "chunked")]
        return head(b"POST / HTTP/1.1", fields) + chunk(body) + LAST_CHUNK + END

    bodies = [b"one", b"two", body_of(70_000), b"four"]
    with http1.Connection(gateway.port) as connection:
        connection.send(b"".join((whole, in_chunks)[turn % 2](body) for turn, body in enumerate(bodies)))
        for body in bodies:
            assert_hashed(connection.read_response(), body)


def test_interleaved_streams_of_one_connection_each_have_their_own_hash(gateway):
    with gateway.counting() as counted, http2.Connection(gateway.port) as connection:
        bodies = {connection.open("POST"): body_of(100 + turn) for turn in range(100)}
        for place in range(0, 100, 10):
            for stream, body in bodies.items():
                connection.data(stream, body[place : place + 10])
        gateway.holds(100)
        for stream, body in reversed(bodies.items()):
            connection.data(stream, body[100:], end=True)
        for stream, body in bodies.items():
            assert_hashed(connection.response(stream), body)
    assert counted == {"hashed": 100}
    gateway.holds(0)

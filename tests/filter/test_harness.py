"""The harness itself, on an Envoy without the filter: what it sends arrives, what it reports is true."""

import hashlib

import pytest
from harness import http1, http2
from harness.envoy import Refused
from harness.envoy_config import http_filter

from .gateway import Gateway
from .transports import TRAILER, TRANSPORTS, WITH_TRAILERS


@pytest.fixture(scope="module")
def plain(origin, tmp_path_factory):
    gateway = Gateway([], origin, tmp_path_factory.mktemp("envoy"))
    yield gateway
    gateway.stop()


@pytest.mark.parametrize("size", [0, 1, 65, 65537, 5 << 20])
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_body_arrives_whole_by_every_transport(plain, transport, size):
    body = bytes(range(256)) * (size // 256 + 1)
    body = body[:size]
    received = TRANSPORTS[transport](plain.port, body, [("X-Case", "\xff")]).received()
    assert (received.length, received.sha256) == (size, hashlib.sha256(body).hexdigest())
    assert received.values("x-case") == ["\xff"]
    assert received.protocol == ("HTTP/2" if "http2" in transport else "HTTP/1.1")
    assert (TRAILER in [tuple(pair) for pair in received.trailers]) == (transport in WITH_TRAILERS)


def test_a_spoofed_header_is_seen_when_no_filter_removes_it(plain):
    assert http1.request(plain.port, "GET", headers=[("x-body-hash", "mine")]).received().values("x-body-hash") == ["mine"]


def test_the_record_holds_requests_that_were_never_finished(plain):
    plain.origin.take_received()
    with http1.Connection(plain.port) as connection:
        connection.send_head("POST", "/unfinished", [("Content-Length", "10")])
        connection.send(b"half")
        paths = []
        while not paths:
            paths = [(each.path, each.complete) for each in plain.origin.take_received()]
    assert paths == [("/unfinished", False)]


def test_an_echo_streams_in_both_protocols(plain):
    with http1.Connection(plain.port) as connection:
        connection.send_head("POST", "/echo", [("Transfer-Encoding", "chunked")])
        connection.send(b"4\r\nping\r\n")
        assert connection.read_head()[0] == 200
        assert connection.read_chunk() == b"ping"
    with http2.Connection(plain.port) as connection:
        stream = connection.open("POST", "/echo")
        connection.data(stream, b"ping")
        connection.wait_body(stream, 4)


def test_a_configuration_that_envoy_refuses_is_told_with_its_log(origin, tmp_path):
    with pytest.raises(Refused, match="max_request_bytes|MaxRequestBytes"):
        Gateway([http_filter("buffer.v3.Buffer", max_request_bytes=0)], origin, tmp_path)

"""Requests that must never be held: they pass at once, whatever the time limit on holding is."""


import pytest
from harness import http1, http2
from harness.received import Received

from .attachments import HEADER, chain
from .expectations import body_of

# So long that a request which is held at all fails its test by the client's time limit.
NEVER_MS = 3_600_000
FORGED = [(HEADER, "f" * 64)]


@pytest.fixture
def patient(start, module, attachment):
    """A gateway that would hold a request for an hour."""
    return start(chain(attachment, module, stallTimeout=NEVER_MS))


def assert_never_hashed(received: Received) -> None:
    assert received.values(HEADER) == []


def test_a_websocket_passes_at_once(patient):
    headers = [("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Key", "a2V5"), *FORGED]
    with patient.counting() as counted, http1.Connection(patient.port) as connection:
        connection.send_head("GET", "/socket", headers)
        assert connection.read_response().status == 101
        assert_never_hashed(Received.from_json(connection.read_line()))
        for message in (b"ping", b"pong" * 1000):
            connection.send(message)
            assert connection.read(len(message)) == message
    assert counted == {"skipped.upgrade": 1}


def test_a_websocket_over_http2_passes_at_once(patient):
    with patient.counting() as counted, http2.Connection(patient.port) as connection:
        stream = connection.open("CONNECT", "/socket", FORGED, protocol="websocket")
        first = _tunnel_line(connection, stream)
        assert_never_hashed(Received.from_json(first))
        connection.data(stream, b"ping")
        connection.wait_body(stream, len(first) + 5)
        assert connection.so_far(stream).body.endswith(b"ping")
    assert sum(counted.values()) == 1 and "hashed" not in counted


def test_connect_passes_at_once(patient):
    with patient.counting() as counted, http1.Connection(patient.port) as connection:
        connection.send_head("CONNECT", "test.local:443", FORGED, host=("Host", "test.local:443"))
        assert connection.read_response("CONNECT").status == 200
        assert_never_hashed(Received.from_json(connection.read_line()))
        connection.send(b"ping")
        assert connection.read(4) == b"ping"
    assert counted == {"skipped.connect": 1}


def test_connect_over_http2_passes_at_once(patient):
    with patient.counting() as counted, http2.Connection(patient.port) as connection:
        stream = connection.open("CONNECT", headers=FORGED, authority="test.local:443")
        first = _tunnel_line(connection, stream)
        assert_never_hashed(Received.from_json(first))
        connection.data(stream, b"ping")
        connection.wait_body(stream, len(first) + 5)
    assert counted == {"skipped.connect": 1}


@pytest.mark.parametrize("content_type", ["application/grpc", "application/grpc+proto", "application/grpc; charset=utf-8"])
def test_a_grpc_stream_is_answered_before_the_client_ends_it(patient, content_type):
    headers = [("content-type", content_type), ("te", "trailers"), *FORGED]
    with patient.counting() as counted, http2.Connection(patient.port) as connection:
        stream = connection.open("POST", "/service/Method", headers)
        assert connection.response_head(stream).status == 200
        for turn in range(1, 6):
            connection.data(stream, b"\0\0\0\0\4ping")
            connection.wait_body(stream, turn * 9)
        connection.data(stream, b"", end=True)
        assert connection.response(stream).trailers == [("grpc-status", "0")]
    assert counted == {"skipped.grpc": 1}
    assert_never_hashed(patient.origin.take_received()[-1])


def test_a_body_that_says_it_is_over_the_cap_is_answered_early(start, module, attachment):
    gateway = start(chain(attachment, module, maxBodyBytes=1000, stallTimeout=NEVER_MS))
    with http1.Connection(gateway.port) as connection:
        connection.send_head("POST", "/early", [("Content-Length", "1001"), *FORGED])
        assert_never_hashed(Received.from_json(connection.read_response().body))
        connection.send(body_of(1001))


def test_a_body_that_grows_over_the_cap_goes_on_at_once(start, module, attachment):
    gateway = start(chain(attachment, module, maxBodyBytes=1000, stallTimeout=NEVER_MS))
    body = body_of(1001)
    with http1.Connection(gateway.port) as connection:
        connection.send_head("POST", "/echo", [("Transfer-Encoding", "chunked"), *FORGED])
        connection.send(b"3e9\r\n" + body + b"\r\n")
        assert connection.read_head()[0] == 200
        assert connection.read_chunk() == body
        connection.send(b"4\r\nmore\r\n0\r\n\r\n")
        assert (connection.read_chunk(), connection.read_chunk()) == (b"more", b"")
    with http2.Connection(gateway.port) as connection:
        stream = connection.open("POST", "/echo", FORGED)
        connection.data(stream, body)
        connection.wait_body(stream, len(body))


def test_an_upgrade_header_without_connection_cannot_hang_a_request(gateway):
    for protocol in ("websocket", "h2c", "unknown"):
        response = http1.request(gateway.port, "POST", "/", [("Upgrade", protocol), *FORGED], b"body")
        assert response.status == 200
        assert "f" * 64 not in response.received().values(HEADER)


def test_an_upgrade_with_a_body_that_never_ends_passes_at_once(patient):
    headers = [("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Transfer-Encoding", "chunked"), *FORGED]
    with http1.Connection(patient.port) as connection:
        connection.send_head("POST", "/socket", headers)
        assert connection.read_response().status in (101, 400)
    patient.holds(0)


def _tunnel_line(connection: http2.Connection, stream: int) -> bytes:
    """The origin's description of a tunnel's request."""
    connection.wait(stream, lambda state: b"\n" in state.body)
    return connection.so_far(stream).body.partition(b"\n")[0]

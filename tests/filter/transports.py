"""Every transport that can carry a body: the same body, other bytes on the wire."""

from collections.abc import Callable, Iterable

from harness import http1, http2
from harness.http1_wire import pieces
from harness.received import Response

# No power of two, none a multiple of SHA-256's block: every boundary is crossed somewhere.
ODD_CHUNKS = (1, 7, 4099, 63, 16385, 65, 65537)
# An empty frame is legal in the middle of a body.
ODD_FRAMES = (1, 16384, 0, 5, 9001)
TRAILER = ("x-trailer", "seen")


def with_length(port: int, body: bytes, headers: Iterable = ()) -> Response:
    return http1.request(port, "POST", "/", headers, body)


def chunked(port: int, body: bytes, headers: Iterable = ()) -> Response:
    with http1.Connection(port) as connection:
        connection.send_head("POST", "/", [*headers, ("Transfer-Encoding", "chunked")])
        connection.send_chunked(pieces(body, ODD_CHUNKS))
        return connection.read_response()


def chunked_with_trailers(port: int, body: bytes, headers: Iterable = ()) -> Response:
    with http1.Connection(port) as connection:
        connection.send_head("POST", "/", [*headers, ("Transfer-Encoding", "chunked"), ("Trailer", TRAILER[0])])
        connection.send_chunked(pieces(body, ODD_CHUNKS), [TRAILER])
        return connection.read_response()


def expecting_100(port: int, body: bytes, headers: Iterable = ()) -> Response:
    with http1.Connection(port) as connection:
        connection.send_head("POST", "/", [*headers, ("Expect", "100-continue"), ("Content-Length", str(len(body)))])
        if body:
            assert connection.read_head()[0] == 100
        connection.send(body)
        return connection.read_response()


def over_http2(port: int, body: bytes, headers: Iterable = ()) -> Response:
    with http2.Connection(port) as connection:
        stream = connection.open("POST", "/", headers)
        _send_frames(connection, stream, body)
        connection.data(stream, b"", end=True)
        return connection.response(stream)


def over_http2_with_trailers(port: int, body: bytes, headers: Iterable = ()) -> Response:
    with http2.Connection(port) as connection:
        stream = connection.open("POST", "/", headers)
        _send_frames(connection, stream, body)
        connection.trailers(stream, [TRAILER])
        return connection.response(stream)


def _send_frames(connection: http2.Connection, stream: int, body: bytes) -> None:
    start = turn = 0
    while start < len(body):
        size = ODD_FRAMES[turn % len(ODD_FRAMES)]
        connection.data(stream, body[start : start + size])
        start, turn = start + size, turn + 1


TRANSPORTS: dict[str, Callable] = {
    transport.__name__: transport for transport in (with_length, chunked, chunked_with_trailers, expecting_100, over_http2, over_http2_with_trailers)
}
WITH_TRAILERS = (chunked_with_trailers.__name__, over_http2_with_trailers.__name__)

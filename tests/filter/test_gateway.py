"""The front of the whole chain, `envoy/gateway.yaml`: what a hostile client writes ends there, or arrives as one request
with its own hash."""

import pytest
from harness import http1, http2
from harness.http1_wire import END, LAST_CHUNK

from .expectations import assert_hashed
from .front import Front

FORGED = b"f" * 64
START = b"POST /v1/embeddings HTTP/1.1\r\n"
HOST = b"Host: a\r\n"
LENGTH = b"Content-Length: 4\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
CHUNKS = b"4\r\nbody\r\n" + LAST_CHUNK + END
SECOND = b"GET /smuggled HTTP/1.1\r\nHost: b\r\n\r\n"


def forged_by(line: bytes) -> bytes:
    return START + HOST + line + LENGTH + END + b"body"


# A reader with other rules could take each for two requests, or for another header.
REFUSED = {
    "two framings": START + HOST + LENGTH + CHUNKED + END + LAST_CHUNK + END + SECOND,
    "two lengths": START + HOST + LENGTH + b"Content-Length: 5\r\n" + END + b"bodyX",
    "a signed length": START + HOST + b"Content-Length: +4\r\n" + END + b"body",
    "two codings": START + HOST + CHUNKED + b"Transfer-Encoding: identity\r\n" + END + CHUNKS + SECOND,
    "another coding": START + HOST + b"Transfer-Encoding: gzip, chunked\r\n" + END + CHUNKS,
    "a disguised coding": START + HOST + b"Transfer-Encoding: \x0bchunked\r\n" + LENGTH + END + CHUNKS,
    "a chunk's size in C": START + HOST + CHUNKED + END + b"0x4\r\nbody\r\n" + LAST_CHUNK + END,
    "a chunk's size of 65 bits": START + HOST + CHUNKED + END + b"10000000000000004\r\nbody\r\n" + LAST_CHUNK + END,
    "a chunk without its end": START + HOST + CHUNKED + END + b"4\r\nbodyXX" + LAST_CHUNK + END,
    "an extension that ends in a bare LF": START + HOST + CHUNKED + END + b"4;\nbody\r\n" + LAST_CHUNK + END,
    "a blank before the colon": forged_by(b"X-Body-Hash : " + FORGED + END),
    "a name that begins with a control character": forged_by(b"\x0bX-Body-Hash: " + FORGED + END),
    "a folded first line": START + b" X-Body-Hash: " + FORGED + END + HOST + LENGTH + END + b"body",
    "a Connection that names the host": forged_by(b"Connection: host\r\n"),
    "a NUL": forged_by(b"A: b\0\r\n"),
    "a blank in the path": b"POST /v1/embeddings /x HTTP/1.1\r\n" + HOST + LENGTH + END + b"body",
}
# One meaning only, also for Varnish: none of them forges anything.
TAKEN = {
    "a folded line": forged_by(b"A: b\r\n X-Body-Hash: " + FORGED + END),
    "a folded value": forged_by(b"X-Body-Hash:\r\n " + FORGED + END),
    "bare LFs": forged_by(b"A: b\nX-Body-Hash: " + FORGED + END),
    "a bare CR": forged_by(b"A: b\rX-Body-Hash: " + FORGED + END),
    "an underscored name": forged_by(b"X_Body_Hash: " + FORGED + END),
    "a Connection that names hash and framing": forged_by(b"Connection: x-body-hash, content-length\r\n"),
    "trailers": START + HOST + b"Trailer: x-body-hash\r\n" + CHUNKED + END + b"4\r\nbody\r\n" + LAST_CHUNK + b"x-body-hash: " + FORGED + END + END,
    "an offer of h2c": forged_by(b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAAA\r\nX-Body-Hash: " + FORGED + END),
}
IN_HTTP2 = {
    "a line break in a value": [("a", b"b\r\nx-body-hash: " + FORGED)],
    "a line break in a name": [(b"a: b\r\nx-body-hash", FORGED)],
    "a Connection header": [("connection", "x-body-hash")],
    "a framing of HTTP/1": [("transfer-encoding", "chunked")],
    "a length that is not the body's": [("content-length", "2")],
    "a second path": [(":path", "/v1/smuggled")],
}


@pytest.fixture(scope="module")
def front(module, origin, tmp_path_factory):
    """The gateway with the recording origin in Varnish's place: its port."""
    with Front(tmp_path_factory.mktemp("gateway"), origin.port) as running:
        yield running.port


@pytest.fixture(autouse=True)
def nothing_received(origin):
    origin.take_received()


@pytest.mark.parametrize("what", REFUSED)
def test_what_two_readers_could_read_differently_is_refused(front, origin, what):
    with http1.Connection(front) as connection:
        connection.send(REFUSED[what])
        assert connection.read_response().status in (400, 501)
    assert [received for received in origin.take_received() if received.complete] == []


@pytest.mark.parametrize("what", TAKEN)
def test_what_has_one_meaning_arrives_with_its_own_hash(front, origin, what):
    with http1.Connection(front) as connection:
        connection.send(TAKEN[what])
        received = assert_hashed(connection.read_response(), b"body")
    assert (received.path, received.authority, received.trailers) == ("/v1/embeddings", "a", [])
    assert received.values("connection") == received.values("upgrade") == []
    assert len(origin.take_received()) == 1


@pytest.mark.parametrize("what", IN_HTTP2)
def test_what_http2_does_not_allow_does_not_arrive(front, origin, what):
    with pytest.raises((http2.StreamReset, ConnectionError)), http2.Connection(front) as connection:
        stream = connection.open("POST", "/v1/embeddings", IN_HTTP2[what])
        connection.data(stream, b"body", end=True)
        connection.response(stream)
    assert [received for received in origin.take_received() if received.complete] == []


@pytest.mark.parametrize("path", [b"/v1/embeddings HTTP/1.1\r\nx-body-hash: " + FORGED, b"/v1/embeddings x"])
def test_a_path_of_http2_that_would_be_more_than_a_path_does_not_arrive(front, origin, path):
    try:
        assert http2.request(front, "POST", path, body=b"body").status == 400
    except (http2.StreamReset, ConnectionError):
        pass
    assert origin.take_received() == []


@pytest.mark.parametrize("client", [http1, http2])
@pytest.mark.parametrize("asks", [[], [("X-Purge-All", "true")], [("Surrogate-Key", "model:m")]], ids=["url", "all", "tag"])
def test_no_client_purges_through_the_gateway(front, origin, client, asks):
    """Varnish lets the gateway's address purge."""
    for body in (None, b"body"):
        assert client.request(front, "PURGE", "/v1/embeddings", asks, body).status == 403
    assert origin.take_received() == []


@pytest.mark.parametrize("client", [http1, http2])
def test_no_client_tells_the_gateway_how_to_call(front, origin, client):
    """It never retries: a retry pays twice."""
    wishes = [
        ("x-envoy-retry-on", "5xx,retriable-4xx,retriable-status-codes"),
        ("x-envoy-retriable-status-codes", "404,503"),
        ("x-envoy-max-retries", "5"),
        ("x-envoy-hedge-on-per-try-timeout", "true"),
        ("x-envoy-upstream-rq-timeout-ms", "1"),
        ("x-envoy-original-path", "/elsewhere"),
        ("x-forwarded-for", "127.0.0.1"),
    ]
    assert client.request(front, "POST", "/status/503", wishes, b"body").status == 503
    (received,) = origin.take_received()
    assert [name for name, _ in received.headers if name.startswith("x-envoy-")] == ["x-envoy-external-address"]

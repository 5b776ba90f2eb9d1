"""The HTTP that clients really write: `envoy/gateway.yaml` answers it, hashes its body, and refuses in OpenAI's envelope."""

import json

import pytest
from harness import http1, http2
from harness.http1_wire import END, LAST_CHUNK

from .expectations import assert_hashed
from .front import Front, error, manager

BODY = b"body"
FORGED = ("x-body-hash", "f" * 64)
LENGTH = ("Content-Length", str(len(BODY)))
TLS_OFFER = [("Connection", "Upgrade"), ("Upgrade", "TLS/1.2")]
H2C_OFFER = [("Connection", "Upgrade, HTTP2-Settings"), ("Upgrade", "h2c"), ("HTTP2-Settings", "AAAA")]
# Varnish's http_max_hdr is 256, and Envoy and Varnish add some headers of their own.
MOST_HEADERS = 195
LONGEST_BYTES = 78_000

# Each is one request with a body of its own.
ANSWERED = {
    "an offer of TLS": TLS_OFFER,
    "an offer of h2c": H2C_OFFER,
    "an offer of something": [("Connection", "Upgrade"), ("Upgrade", "foo")],
    "an offer among others": [("Connection", "keep-alive, Upgrade"), ("Upgrade", "foo, TLS/1.3")],
    "two offers": [("Connection", "Upgrade"), ("Upgrade", "foo"), ("Upgrade", "TLS/1.3")],
    "an offer without Connection": [("Upgrade", "TLS/1.2")],
    "Expect": [("Expect", "100-continue")],
    "an underscore in a name": [("my_header", "1")],
    "104 headers": [(f"a{number}", "b") for number in range(104)],
    "as many headers as Varnish takes": [(f"a{number}", "b") for number in range(MOST_HEADERS)],
    "a long header": [("a", "x" * LONGEST_BYTES)],
}
POST = b"POST /v1/embeddings HTTP/1.0\r\n"
HTTP10 = {
    "a host": POST + b"Host: a\r\nContent-Length: 4\r\n\r\nbody",
    "no host": POST + b"Content-Length: 4\r\n\r\nbody",
    "chunks": POST + b"Host: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n" + LAST_CHUNK + END,
}
HOST = b"Host: a\r\n"
# What Envoy answers itself, before or in place of Varnish: the bytes, and the status.
REFUSED = {
    "no HTTP": (b"\x16\x03\x01\x00\xa5\r\n\r\n", 400),
    "a method that is none": (b"FOO /v1/models HTTP/1.1\r\n" + HOST + END, 400),
    "a method in small letters": (b"post /v1/models HTTP/1.1\r\n" + HOST + END, 400),
    "a path without its slash": (b"GET v1/models HTTP/1.1\r\n" + HOST + END, 400),
    "a fragment": (b"GET /v1/models#x HTTP/1.1\r\n" + HOST + END, 400),
    "no host": (b"GET /v1/models HTTP/1.1\r\n\r\n", 400),
    "an empty host": (b"GET /v1/models HTTP/1.1\r\nHost:\r\n\r\n", 400),
    "two hosts": (b"GET /v1/models HTTP/1.1\r\n" + HOST + b"Host: b\r\n\r\n", 400),
    "a target of another scheme": (b"GET ftp://a/v1/models HTTP/1.1\r\n" + HOST + END, 400),
    "a target of https": (b"GET https://a/v1/models HTTP/1.1\r\n" + HOST + END, 403),
    "a purge": (b"PURGE /v1/embeddings HTTP/1.1\r\n" + HOST + END, 403),
    "CONNECT": (b"CONNECT a:443 HTTP/1.1\r\n" + HOST + END, 404),
    "OPTIONS *": (b"OPTIONS * HTTP/1.1\r\n" + HOST + END, 404),
    "a GET with a long body": (b"GET /v1/models HTTP/1.1\r\n" + HOST + b"Content-Length: 65537\r\n\r\n" + b"x" * 65537, 413),
    "250 headers": (b"GET /v1/models HTTP/1.1\r\n" + HOST + b"a: b\r\n" * 250 + END, 431),
    "a header of 90 kB": (b"GET /v1/models HTTP/1.1\r\n" + HOST + b"a: " + b"x" * 90_000 + END + END, 431),
    "a path of 90 kB": (b"GET /" + b"x" * 90_000 + b" HTTP/1.1\r\n" + HOST + END, 431),
    "a Varnish that hangs up": (b"GET /abort HTTP/1.1\r\n" + HOST + END, 503),
}


@pytest.fixture(scope="module")
def front(module, origin, tmp_path_factory):
    """The gateway with the recording origin in Varnish's place."""
    with Front(tmp_path_factory.mktemp("gateway"), origin.port) as running:
        yield running


@pytest.mark.parametrize("what", ANSWERED)
def test_what_clients_write_is_answered_and_hashed(front, what):
    response = http1.request(front.port, "POST", "/v1/embeddings", ANSWERED[what], BODY)
    received = assert_hashed(response, BODY)
    assert received.values("connection") == received.values("upgrade") == []


@pytest.mark.parametrize("what", HTTP10)
def test_http_1_0_is_answered_and_hashed(front, what):
    with http1.Connection(front.port) as connection:
        connection.send(HTTP10[what])
        response = connection.read_response()
    assert_hashed(response, BODY)
    assert response.values("transfer-encoding") == []


def test_a_connection_of_http_1_0_is_kept_where_the_client_asks_for_it(front):
    with http1.Connection(front.port) as connection:
        for _ in range(2):
            connection.send(POST + HOST + b"Connection: keep-alive\r\nContent-Length: 4\r\n\r\nbody")
            assert_hashed(connection.read_response(), BODY)


def test_a_websocket_is_answered_as_a_plain_request(front):
    key = [("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="), ("Sec-WebSocket-Version", "13")]
    offer = [("Connection", "Upgrade"), ("Upgrade", "websocket"), *key]
    received = http1.request(front.port, "GET", "/v1/realtime", offer).received()
    assert (received.path, received.values("upgrade")) == ("/v1/realtime", [])


def test_a_whole_url_as_target_arrives_as_its_path(front):
    response = http1.request(front.port, "POST", "http://b/v1/embeddings?x=1", body=BODY)
    received = assert_hashed(response, BODY)
    assert (received.path, received.authority) == ("/v1/embeddings?x=1", "b")


def test_a_long_query_arrives(front):
    path = "/v1/models?" + "x" * 70_000
    assert http1.request(front.port, "GET", path).received().path == path


@pytest.mark.parametrize("what", REFUSED)
def test_a_refusal_is_in_openais_envelope(front, what):
    data, status = REFUSED[what]
    with http1.Connection(front.port) as connection:
        try:
            connection.send(data)
        except ConnectionError:
            pass
        response = connection.read_response()
    assert response.status == status
    error(response)
    assert response.values("retry-after") == (["1"] if status == 503 else [])


def test_a_gateway_without_varnish_says_so(module, tmp_path):
    with Front(tmp_path, 1) as front:
        for client in (http1, http2):
            for method, path in (("POST", "/v1/embeddings"), ("POST", "/v1/chat/completions"), ("GET", "/healthz"), ("GET", "/")):
                response = client.request(front.port, method, path, body=BODY if method == "POST" else None)
                assert response.status == 503
                assert "Varnish" in error(response)["message"]


@pytest.mark.parametrize("method", ["PURGE", "purge", "Purge"])
@pytest.mark.parametrize("kind", ["application/json", "application/grpc", "application/grpc+proto"])
def test_no_spelling_of_a_purge_gets_through(front, origin, method, kind):
    origin.take_received()
    response = http2.request(front.port, method, "/v1/embeddings", [("content-type", kind)], BODY)
    assert response.status == 403 or response.values("grpc-status") == ["7"]
    assert origin.take_received() == []


@pytest.mark.parametrize("client", [http1, http2])
@pytest.mark.parametrize("spelling", ["x-body-hash", "X-BODY-HASH"])
def test_a_clients_hash_does_not_pass_a_route_without_the_filters(module, origin, tmp_path, client, spelling):
    off = {"@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig", "disabled": True}

    def turn_off(whole: dict) -> None:
        (host,) = manager(whole)["route_config"]["virtual_hosts"]
        for route in host["routes"]:
            route["typed_per_filter_config"] = {"body-hash-tap": off, "body-hash-gate": off}

    with Front(tmp_path, origin.port, turn_off) as front:
        forged = [(spelling, FORGED[1]), FORGED]
        for method, body in (("POST", BODY), ("POST", None), ("GET", None)):
            response = client.request(front.port, method, "/v1/embeddings", forged, body)
            assert (response.status, response.received().values("x-body-hash")) == (200, [])


def test_the_access_log_holds_the_path_and_no_query(module, origin, tmp_path):
    with Front(tmp_path, origin.port) as front:
        http1.request(front.port, "POST", "/v1/embeddings?api-key=secret", body=BODY)
        http2.request(front.port, "GET", "/v1/models?api-key=secret")
        http1.request(front.port, "PURGE", "/v1/embeddings?api-key=secret")
        lines = front.access_log()
    assert [(line["method"], line["path"], line["status"]) for line in lines] == [
        ("POST", "/v1/embeddings", 200),
        ("GET", "/v1/models", 200),
        ("PURGE", "/v1/embeddings", 403),
    ]
    assert lines[0]["x-body-hash"] and "secret" not in json.dumps(lines)

"""Header values from hell, and the one header that no client may choose."""

import pytest
from harness import http1, http2
from harness.envoy_config import connect_route, route

from .attachments import DEFAULT_CAP, HEADER, chain
from .expectations import assert_hashed, assert_unhashed, body_of
from .transports import TRANSPORTS

FORGED = "f" * 64
FORGERIES = {
    "once": [(HEADER, FORGED)],
    "five_times": [(HEADER, FORGED)] * 5,
    "in_other_case": [("X-Body-Hash", FORGED), ("X-BODY-HASH", FORGED)],
    "between_others": [("a", "1"), (HEADER, FORGED), ("b", "2"), (HEADER, "")],
    "empty": [(HEADER, "")],
    "as_a_list": [(HEADER, f"{FORGED}, {FORGED}")],
    "not_utf8": [(HEADER, b"\xff\xfe\x80")],
    "long": [(HEADER, "f" * 60_000)],
}


@pytest.fixture(params=FORGERIES)
def forged(request):
    return FORGERIES[request.param]


@pytest.mark.natively(transport=["chunked_with_trailers", "over_http2"])
@pytest.mark.elsewhere(forged=["five_times", "not_utf8", "long"])
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_forged_header_is_replaced(gateway, forged, transport):
    assert_hashed(TRANSPORTS[transport](gateway.port, b"body", forged), b"body")


@pytest.mark.elsewhere(forged=["five_times", "not_utf8", "long"])
def test_a_forged_header_without_a_body_is_removed(gateway, forged):
    for client in (http1, http2):
        assert_unhashed(client.request(gateway.port, "GET", headers=forged))
        assert_unhashed(client.request(gateway.port, "POST", headers=forged, body=b""))


@pytest.mark.natively(transport=["chunked_with_trailers", "over_http2"])
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_forged_header_over_the_cap_is_removed(gateway, forged, transport):
    body = body_of(DEFAULT_CAP + 1)
    assert_unhashed(TRANSPORTS[transport](gateway.port, body, forged), body)


def test_the_other_headers_arrive_in_order_and_unchanged(gateway):
    sent = [("b", "2"), (HEADER, FORGED), ("a", "1"), ("b", "3"), ("empty", "")]
    received = assert_hashed(http1.request(gateway.port, "POST", "/", sent, b"body"), b"body")
    arrived = [tuple(pair) for pair in received.headers]
    assert [pair for pair in arrived if pair[0] in ("a", "b", "empty")] == [("b", "2"), ("a", "1"), ("b", "3"), ("empty", "")]


def test_a_connection_header_cannot_name_the_hash_as_hop_by_hop(gateway):
    """A proxy behind us would remove what `Connection` names (RFC 9110, 7.6.1)."""
    headers = [("Connection", f"keep-alive, {HEADER}")]
    received = assert_hashed(http1.request(gateway.port, "POST", "/", headers, b"body"), b"body")
    assert HEADER not in " ".join(received.values("connection"))


@pytest.mark.natively(value=[b"\xff"])
@pytest.mark.parametrize("name", ["x-any", "content-type", "te", "user-agent", "cookie", "grpc-timeout", "x-forwarded-for"])
@pytest.mark.parametrize("value", [b"\xff", b"\xc3\x28", b"\xed\xa0\x80", bytes(range(0x80, 0x100))])
def test_a_value_that_is_not_utf8_harms_no_other(gateway, name, value):
    assert_hashed(http1.request(gateway.port, "POST", "/", [(name, value)], b"body"), b"body")
    if name != "te":  # HTTP/2 allows it one value only.
        assert_hashed(http2.request(gateway.port, "POST", "/", [(name, value)], b"body"), b"body")
    assert_hashed(http1.request(gateway.port, "POST", "/", body=b"next"), b"next")


@pytest.mark.parametrize("host", [b"\xff.local", b"h\xc3\x28", b"\x80"])
def test_a_host_that_is_not_utf8_harms_no_other(gateway, host):
    with http1.Connection(gateway.port) as connection:
        connection.send_head("POST", "/", [("Content-Length", "4")], host=("Host", host))
        connection.send(b"body")
        assert connection.read_response().status in (200, 400)
    assert_hashed(http1.request(gateway.port, "POST", "/", body=b"next"), b"next")


@pytest.mark.natively(length=["18446744073709551615", "\xff"])
@pytest.mark.parametrize("length", ["00004", "4 ", "18446744073709551615", "99999999999999999999999", "-1", "+4", "0x4", "4, 4", "", "\xff"])
def test_a_strange_content_length_harms_no_other(gateway, length):
    with http1.Connection(gateway.port) as connection:
        connection.send_head("POST", "/", [("Content-Length", length)])
        connection.send(b"body")
    assert_hashed(http1.request(gateway.port, "POST", "/", body=b"next"), b"next")


def test_a_hundred_headers_arrive(gateway):
    # Envoy's own limit is 100 with the pseudo-headers.
    headers = [(f"x-{turn}", "value") for turn in range(95)]
    for client in (http1, http2):
        received = assert_hashed(client.request(gateway.port, "POST", "/", [*headers, (HEADER, FORGED)], b"body"), b"body")
        assert all(received.values(name) == ["value"] for name, _ in headers)


def test_a_header_of_60_kib_arrives(gateway):
    value = "v" * (60 << 10)
    for client in (http1, http2):
        received = assert_hashed(client.request(gateway.port, "POST", "/", [("x-big", value)], b"body"), b"body")
        assert received.values("x-big") == [value]


def test_another_name_may_carry_the_hash(start, module, attachment):
    gateway = start(chain(attachment, module, header="x-digest"))
    headers = [("X-Digest", FORGED), (HEADER, "not ours")]
    received = assert_hashed(http1.request(gateway.port, "POST", "/", headers, b"body"), b"body", header="x-digest")
    assert received.values(HEADER) == ["not ours"]
    assert_unhashed(http1.request(gateway.port, "GET", "/", headers), header="x-digest")


def test_an_internal_redirect_is_hashed_anew(start, module, attachment):
    """Envoy runs the filters again on a request that bears the first run's header."""
    redirecting = route("origin", internal_redirect_policy={"max_internal_redirects": 2})
    gateway = start(chain(attachment, module), routes=[connect_route("origin"), redirecting])
    where = "http://test.local/there"
    for client in (http1, http2):
        response = client.request(gateway.port, "GET", f"/redirect?{where}", [(HEADER, FORGED)])
        assert assert_unhashed(response).path == "/there"
        response = client.request(gateway.port, "POST", f"/redirect?{where}", [(HEADER, FORGED)], b"body")
        received = response.received()
        assert received.path == ("/there" if response.status == 200 else f"/redirect?{where}")
        assert len(received.values(HEADER)) <= 1 and FORGED not in received.values(HEADER)
    gateway.holds(0)


def test_a_forged_trailer_is_removed(gateway):
    """A server may fold trailers into the headers."""
    trailers = [(HEADER, FORGED), ("X-Body-Hash", FORGED), ("x-trailer", "seen")]
    for size in (4, DEFAULT_CAP + 1):
        body = body_of(size)
        right = assert_hashed if size == 4 else assert_unhashed
        with http2.Connection(gateway.port) as connection:
            stream = connection.open("POST")
            connection.data(stream, body)
            connection.trailers(stream, trailers)
            assert [tuple(pair) for pair in right(connection.response(stream), body).trailers] == [("x-trailer", "seen")]
        with http1.Connection(gateway.port) as connection:
            connection.send_head("POST", "/", [("Transfer-Encoding", "chunked")])
            connection.send_chunked([body], trailers)
            assert [tuple(pair) for pair in right(connection.read_response(), body).trailers] == [("x-trailer", "seen")]

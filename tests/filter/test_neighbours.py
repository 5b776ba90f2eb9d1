"""Filters around the body hash that buffer, limit or decompress bodies: no request hangs, every byte arrives or the
neighbour's own 413 is the answer."""

import functools
import gzip
import hashlib
import random
import time

import pytest
from harness import http1, http2
from harness.envoy_config import ONLY_HTTP1, http_filter
from harness.http1_wire import chunk, pieces

from .attachments import HEADER, SINGLE, chain
from .expectations import assert_arrived, assert_hashed, assert_unhashed, body_of
from .transports import ODD_CHUNKS, TRAILER, TRANSPORTS, WITH_TRAILERS

KI, MI = 1 << 10, 1 << 20
FORGED = [(HEADER, "f" * 64)]
WITHOUT_LENGTH = [name for name in TRANSPORTS if name not in ("with_length", "expecting_100")]
_LUA = "function envoy_on_request(handle)\n  handle:body()\nend\n"
_RULES = {"rules": [{"selectors": [{"key": "model"}], "on_missing": {"metadata_namespace": "m", "key": "k", "value": "v"}}]}
BUFFERING = {
    "buffer": http_filter("buffer.v3.Buffer", max_request_bytes=MI),
    "small_buffer": http_filter("buffer.v3.Buffer", max_request_bytes=64 * KI),
    "large_buffer": http_filter("buffer.v3.Buffer", max_request_bytes=16 * MI),
    "lua": http_filter("lua.v3.Lua", default_source_code={"inline_string": _LUA}),
    "json": http_filter("json_to_metadata.v3.JsonToMetadata", request_rules=_RULES),
}
# A request that waits for the filter's own time limit fails its row.
PATIENT = {"stallTimeout": 3_600_000}


def decompressor() -> dict:
    library = {
        "name": "gzip",
        "typed_config": {"@type": "type.googleapis.com/envoy.extensions.compression.gzip.decompressor.v3.Gzip"},
    }
    return http_filter("decompressor.v3.Decompressor", decompressor_library=library)


def skip_what_the_readme_excludes(attachment: str, neighbour: str) -> None:
    """A single filter with a cap above the limit of the filter behind it: only a pair can hand such a body on."""
    if attachment == SINGLE and neighbour == "small_buffer":
        pytest.skip("filter/README.md, Buffers")


def assert_answered(response, body: bytes) -> None:
    """By the neighbour, which refuses what it cannot buffer, or by the upstream, which got all of it."""
    assert response.status in (200, 413), (response.status, response.body[:200])
    if response.status == 200:
        received = assert_arrived(response, body)
        assert received.values(HEADER) in ([], [received.sha256])


@pytest.mark.natively(size=[MI + 1, 5 * MI])
@pytest.mark.parametrize("size", [MI, MI + 1, 2 * MI, 5 * MI])
@pytest.mark.parametrize("transport", WITHOUT_LENGTH)
@pytest.mark.parametrize("neighbour", BUFFERING)
def test_a_body_over_the_cap_is_answered_although_a_filter_behind_buffers(start, module, attachment, neighbour, transport, size):
    skip_what_the_readme_excludes(attachment, neighbour)
    gateway = start([*chain(attachment, module, **PATIENT), BUFFERING[neighbour]])
    json = [("Content-Type", "application/json")]
    assert_answered(TRANSPORTS[transport](gateway.port, body_of(size), [*FORGED, *json]), body_of(size))
    gateway.holds(0)


@pytest.mark.parametrize("neighbour", ["buffer", "lua"])
def test_every_one_of_many_bodies_over_the_cap_is_answered(start, module, attachment, neighbour):
    """How much of a body Envoy reads at once differs from request to request: one of twenty may meet what others do not."""
    gateway = start([*chain(attachment, module, **PATIENT), BUFFERING[neighbour]])
    for _ in range(100):
        for transport in ("chunked", "chunked_with_trailers"):
            assert_answered(TRANSPORTS[transport](gateway.port, body_of(2 * MI), FORGED), body_of(2 * MI))
    gateway.holds(0)


@pytest.mark.parametrize("neighbour", BUFFERING)
def test_a_body_that_stalls_before_a_filter_that_buffers_is_answered(start, module, attachment, neighbour):
    skip_what_the_readme_excludes(attachment, neighbour)
    gateway = start([*chain(attachment, module, stallTimeout=100), BUFFERING[neighbour]])
    body = body_of(2 * MI)
    with http1.Connection(gateway.port) as connection:
        with gateway.letting_go():
            connection.send_head("POST", "/", [("Transfer-Encoding", "chunked")])
            connection.send(chunk(body[: 500 * KI]))
        connection.send_chunked(pieces(body[500 * KI :], ODD_CHUNKS))
        assert_answered(connection.read_response(), body)


@pytest.mark.parametrize("cap", [32 * KI, 100 * KI])
@pytest.mark.parametrize("transport", WITHOUT_LENGTH)
def test_a_body_over_the_cap_goes_on_whole_and_is_counted(start, module, attachment, transport, cap):
    """No 413, although the buffer has no room above the cap."""
    gateway = start(chain(attachment, module, maxBodyBytes=cap, **PATIENT), listener_options={"per_connection_buffer_limit_bytes": cap})
    with gateway.counting() as counted:
        for size in (cap + 1, 3 * cap, 900 * KI):
            assert_unhashed(TRANSPORTS[transport](gateway.port, body_of(size), FORGED), body_of(size))
    assert counted == {"skipped.too_large": 3}
    gateway.holds(0)


def test_an_answer_that_needs_no_body_comes_although_the_body_goes_over_the_cap(start, module, attachment):
    """The request goes on in the middle of a body callback; here the route answers it at once."""
    direct = [{"match": {"prefix": "/"}, "direct_response": {"status": 403, "body": {"inline_string": "no"}}}]
    gateway = start(chain(attachment, module, maxBodyBytes=10 * KI, **PATIENT), routes=direct)
    for client in (http1, http2):
        for _ in range(20):
            with client.Connection(gateway.port) as connection:
                if client is http1:
                    connection.send_head("POST", "/", [("Transfer-Encoding", "chunked")])
                    connection.send_chunked(pieces(body_of(50 * KI), [3000]))
                    response = connection.read_response()
                else:
                    stream = connection.open("POST", "/")
                    for part in pieces(body_of(50 * KI), [3000]):
                        connection.data(stream, part)
                    response = connection.response(stream)
            assert response.status == 403
    gateway.holds(0)


def compressed(body: bytes) -> tuple[bytes, list]:
    return gzip.compress(body, mtime=0), [("Content-Encoding", "gzip"), *FORGED]


@pytest.mark.natively(size=[1, 700 * KI])
@pytest.mark.parametrize("size", [1, 300, 50 * KI, 700 * KI, MI])
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_decompressed_body_is_hashed_at_once(start, module, attachment, transport, size):
    gateway = start([decompressor(), *chain(attachment, module, **PATIENT)])
    body = random.Random(size).randbytes(size)
    sent, headers = compressed(body)
    received = assert_hashed(TRANSPORTS[transport](gateway.port, sent, headers), body)
    assert (TRAILER in [tuple(pair) for pair in received.trailers]) == (transport in WITH_TRAILERS)


@functools.cache
def fourfold(size: int) -> tuple[bytes, bytes, list]:
    """A body of two bits a byte, and what is sent of it. It takes seconds to compress."""
    body = bytes(random.Random(size).choices(b"acgt", k=size))
    return body, *compressed(body)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_body_that_grows_fourfold_is_hashed_or_goes_on_whole(start, module, attachment, transport):
    gateway = start([decompressor(), *chain(attachment, module, **PATIENT)])
    for size in (900 * KI, MI + 1, 2 * MI):
        body, sent, headers = fourfold(size)
        response = TRANSPORTS[transport](gateway.port, sent, headers)
        (assert_hashed if size <= MI else assert_unhashed)(response, body)


@pytest.mark.parametrize("size", [MI, MI + 1, 2 * MI])
def test_a_body_that_grows_over_the_cap_with_its_last_frame_ends_once(start, module, attachment, size):
    """The decompressor adds trailers to the last bytes. The second request finds a connection to the upstream ready, and
    a second end would go out on it."""
    gateway = start([decompressor(), *chain(attachment, module, **PATIENT)], cluster_options=ONLY_HTTP1)
    body, sent, headers = fourfold(size)
    for _ in range(2):
        response = http2.request(gateway.port, "POST", "/", headers, sent)
        (assert_hashed if size <= MI else assert_unhashed)(response, body)
    gateway.holds(0)


@pytest.mark.parametrize("cap", [64 * KI, MI])
@pytest.mark.parametrize("transport", WITHOUT_LENGTH)
@pytest.mark.parametrize("before", ["large_buffer", "lua"])
def test_a_body_that_a_filter_before_has_buffered_ends_once(start, module, attachment, before, transport, cap):
    """The filter sees the whole body at once, when its trailers are there already."""
    room = {"per_connection_buffer_limit_bytes": 4 * MI}
    filters = [BUFFERING[before], *chain(attachment, module, maxBodyBytes=cap, **PATIENT)]
    gateway = start(filters, listener_options=room, cluster_options=ONLY_HTTP1)
    for size in (cap, cap + 1, 2 * cap):
        for _ in range(2):
            response = TRANSPORTS[transport](gateway.port, body_of(size), FORGED)
            (assert_hashed if size <= cap else assert_unhashed)(response, body_of(size))
    gateway.holds(0)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_an_uncompressed_body_behind_a_decompressor_is_hashed(start, module, attachment, transport):
    gateway = start([decompressor(), *chain(attachment, module, **PATIENT)])
    assert_hashed(TRANSPORTS[transport](gateway.port, body_of(70_000), FORGED), body_of(70_000))


def test_a_slow_compressed_body_is_hashed_when_it_ends(start, module, attachment):
    gateway = start([decompressor(), *chain(attachment, module, **PATIENT)])
    body = random.Random(7).randbytes(300 * KI)
    sent, headers = compressed(body)
    with http1.Connection(gateway.port) as connection:
        connection.send_head("POST", "/", [*headers, ("Transfer-Encoding", "chunked")])
        for part in pieces(sent, [60_000]):
            connection.send(chunk(part))
            time.sleep(0.05)
        assert gateway.held() == 1
        connection.send_chunked([])
        assert_hashed(connection.read_response(), body)


@pytest.mark.parametrize("behind", ["buffer", "lua"])
def test_a_decompressed_body_before_a_filter_that_buffers_is_hashed(start, module, attachment, behind):
    gateway = start([decompressor(), *chain(attachment, module, **PATIENT), BUFFERING[behind]])
    body = random.Random(3).randbytes(200 * KI)
    sent, headers = compressed(body)
    assert hashlib.sha256(sent).digest() != hashlib.sha256(body).digest()
    for transport in TRANSPORTS.values():
        assert_hashed(transport(gateway.port, sent, headers), body)

"""Clients and upstreams that go away: nothing stays held, and the next request is right."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from harness import http1, http2
from harness.envoy_config import connect_route, http_filter, route

from .attachments import chain
from .expectations import assert_hashed, body_of

CLIENTS = 1000
AT_ONCE = 50


def assert_recovered(gateway) -> None:
    gateway.holds(0)
    for client in (http1, http2):
        assert_hashed(client.request(gateway.port, "POST", body=b"next"), b"next")
    assert gateway.held() == 0


def test_a_thousand_clients_hang_up_in_mid_body(gateway):
    def hang_up(turn: int) -> None:
        with http1.Connection(gateway.port) as connection:
            chunked = turn % 2
            framing = ("Transfer-Encoding", "chunked") if chunked else ("Content-Length", "20000")
            connection.send_head("POST", "/hang-up", [framing])
            piece = body_of(turn * 7 % 10_000)
            connection.send(b"4e20\r\n" + piece if chunked else piece)
            if turn % 3 == 0:
                connection.abort()

    gateway.origin.take_received()
    with ThreadPoolExecutor(AT_ONCE) as clients:
        list(clients.map(hang_up, range(CLIENTS)))
    assert_recovered(gateway)
    assert [each for each in gateway.origin.take_received() if each.path == "/hang-up"] == []


def test_a_thousand_held_requests_are_released_by_their_clients(start, module, attachment):
    """All of them at once, so that every one was certainly held."""
    gateway = start(chain(attachment, module, stallTimeout=60_000))
    with gateway.counting() as counted:
        connections = [http2.Connection(gateway.port) for _ in range(CLIENTS // 100)]
        for connection in connections:
            for _ in range(100):
                connection.data(connection.open("POST"), b"begun")
        gateway.holds(CLIENTS)
        for turn, connection in enumerate(connections):
            if turn % 2:
                for stream in range(1, 200, 2):
                    connection.reset(stream)
            connection.close()
        gateway.holds(0)
    assert counted == {"skipped.aborted": CLIENTS}
    assert_recovered(gateway)


def test_a_client_that_resets_its_stream_right_after_the_end_harms_no_other(gateway):
    for _ in range(30):
        # Envoy itself closes a connection that resets many streams.
        with http2.Connection(gateway.port) as connection:
            for _ in range(10):
                stream = connection.open("POST")
                connection.data(stream, b"body", end=True)
                connection.reset(stream)
    assert_recovered(gateway)


def test_a_client_that_hangs_up_right_after_the_end_harms_no_other(gateway):
    for _ in range(300):
        with http1.Connection(gateway.port) as connection:
            connection.send_head("POST", "/", [("Content-Length", "4")])
            connection.send(b"body")
            connection.abort()
    assert_recovered(gateway)


@pytest.mark.parametrize("path", ["/abort", "/status/503"])
def test_an_upstream_that_fails_is_reported_and_leaves_nothing_held(gateway, path):
    for client in (http1, http2):
        assert client.request(gateway.port, "POST", path, body=b"body").status >= 500
    assert_recovered(gateway)


def test_a_request_that_envoy_retries_keeps_its_one_hash(start, module, attachment):
    retrying = route("origin", retry_policy={"retry_on": "5xx", "num_retries": 2})
    gateway = start(chain(attachment, module), routes=[connect_route("origin"), retrying])
    gateway.origin.take_received()
    assert http1.request(gateway.port, "POST", "/status/503", body=b"body").status == 503
    hashes = [each.values("x-body-hash") for each in gateway.origin.take_received()]
    assert len(hashes) == 3 and hashes[0] == hashes[1] == hashes[2] and len(hashes[0]) == 1


def test_a_held_request_obeys_the_time_limit_of_the_listener(start, module, attachment):
    gateway = start(chain(attachment, module, stallTimeout=60_000), manager_options={"request_timeout": "0.5s"})
    with http1.Connection(gateway.port) as connection:
        connection.send_head("POST", "/", [("Content-Length", "10")])
        assert connection.read_response().status == 408
    assert_recovered(gateway)


def test_a_malformed_rest_of_a_held_body_is_refused(gateway):
    with http1.Connection(gateway.port) as connection:
        connection.send_head("POST", "/", [("Transfer-Encoding", "chunked")])
        connection.send(b"4\r\nbody\r\n")
        gateway.holds(1)
        connection.send(b"no chunk size\r\n")
        assert connection.read_response().status == 400
    assert_recovered(gateway)


def test_a_route_that_answers_itself_leaves_nothing_held(start, module, attachment):
    direct = {"match": {"prefix": "/"}, "direct_response": {"status": 418}}
    gateway = start(chain(attachment, module), routes=[direct])
    for client in (http1, http2):
        assert client.request(gateway.port, "POST", body=b"body").status == 418
    gateway.holds(0)


def test_a_filter_behind_that_refuses_leaves_nothing_held(start, module, attachment):
    refuse = http_filter("rbac.v3.RBAC", rules={"action": "ALLOW"})
    gateway = start([*chain(attachment, module), refuse])
    with gateway.counting() as counted:
        assert http1.request(gateway.port, "POST", body=b"body").status == 403
    assert counted == {"hashed": 1}
    gateway.holds(0)


@pytest.mark.parametrize("sent", [b"less", b"rather more"])
def test_a_content_length_that_is_a_lie_leaves_nothing_held(gateway, sent):
    with http2.Connection(gateway.port) as connection:
        stream = connection.open("POST", headers=[("content-length", "6")])
        connection.data(stream, sent, end=True)
        with pytest.raises(http2.StreamReset):
            connection.response(stream)
    assert_recovered(gateway)

"""Clients that are slow with their bodies, more of them than a cluster has places: `envoy/gateway.yaml` serves all others at once."""

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
from harness import http1
from harness.waiting import eventually
from varnish import varnish

from .attachments import DEFAULT_CAP
from .expectations import assert_hashed, body_of
from .front import Front, configuration, error, manager

SLOW = 1_100
PATHS = ("/v1/chat/completions", "/v1/embeddings", "/healthz")
# Longer than the filter waits for a body that does not grow, so that the slow requests go on to Varnish.
PAUSE_SECONDS = 1.5
ROUNDS = 2
AT_ONCE_SECONDS = 5.0
# On a busy machine one try of several has its time for itself; a call that waits for a place never has.
TRIES = 5
DEADLINE_SECONDS = 3
# The rate of an uplink of 1.2 Mbit/s, and the longest file that OpenAI takes.
SLOWEST_BYTES_PER_SECOND, LONGEST_UPLOAD = 150_000, 512 << 20
UPLOADS = "cluster.varnish-uploads."
# Nothing hashes so long a body, so it goes to Varnish while it comes.
OVER_THE_CAP = DEFAULT_CAP + 1
# What they send together is several times the heap that the test allows.
HOARDERS = 400
KEY = [("Authorization", "Bearer harness")]


@pytest.fixture(scope="module")
def cache(public_folder) -> Iterator[varnish.Varnish]:
    """A real Varnish in front of a backend that answers everything."""
    backend = varnish.Backend()
    running = varnish.start(public_folder / "slow", backend.port)
    yield running
    running.process.stop()
    backend.stop()


@contextmanager
def slow_clients(port: int, path: str, method: str = "POST") -> Iterator[list[http1.Connection]]:
    with ExitStack() as stack:
        clients = [stack.enter_context(http1.Connection(port)) for _ in range(SLOW)]
        for client in clients:
            client.send_head(method, path, [("Content-Length", "100000")])
            client.send(b"x")
        yield clients


def trickle(clients: list[http1.Connection]) -> None:
    """A byte of each; the gateway has hung up on some."""
    time.sleep(PAUSE_SECONDS)
    for client in clients:
        try:
            client.send(b"x")
        except OSError:
            pass


def status(client: http1.Connection) -> int | None:
    """None where a byte that met the hung-up gateway cost the client its answer (RFC 9112, 9.6)."""
    try:
        return client.read_response().status
    except ConnectionError:
        return None


def answered_at_once(ask, status: int) -> http1.Response:
    seconds = []
    for _ in range(TRIES):
        begin = time.monotonic()
        response = ask()
        seconds.append(time.monotonic() - begin)
        assert response.status == status, response.body
        if seconds[-1] < AT_ONCE_SECONDS:
            return response
    raise AssertionError(f"slow each time: {seconds}")


def stored(port: int) -> http1.Response:
    return http1.request(port, "POST", "/v1/embeddings", KEY, b'{"input":"known"}')


@pytest.mark.parametrize("path", PATHS)
def test_slow_bodies_do_not_keep_the_others_waiting(module, cache, tmp_path, path):
    with Front(tmp_path, cache.port) as front:
        stored(front.port)
        with slow_clients(front.port, path) as clients:
            for _ in range(ROUNDS):
                trickle(clients)
                answered_at_once(lambda: http1.request(front.port, "GET", "/healthz"), 200)
                hit = answered_at_once(lambda: stored(front.port), 200)
                assert "Varnish; hit" in hit.values("cache-status")[0]
                error(answered_at_once(lambda: http1.request(front.port, "PURGE", "/v1/embeddings", [("X-Purge-All", "true")]), 403))
                answered_at_once(lambda: http1.request(front.port, "POST", "/v1/chat/completions", KEY, b"{}"), 200)
                answered_at_once(lambda: http1.request(front.port, "GET", "/v1/models"), 200)
        eventually(lambda: front.envoy.stats(UPLOADS).get("upstream_rq_active", 0) == 0, what="the places are free again")


def test_a_slow_body_too_many_is_refused_and_does_not_wait(module, cache, tmp_path):
    places = 8

    def narrow(whole: dict) -> None:
        (uploads,) = (each for each in whole["static_resources"]["clusters"] if each["name"] == "varnish-uploads")
        uploads["circuit_breakers"]["thresholds"][0] |= {"max_requests": places, "max_connections": 2 * places}

    with Front(tmp_path, cache.port, narrow) as front, slow_clients(front.port, "/v1/files"):
        eventually(lambda: front.envoy.stats(UPLOADS).get("upstream_rq_503") == SLOW - places, 60, "the places are taken")
        response = answered_at_once(lambda: http1.request(front.port, "POST", "/v1/files", body=b"x" * OVER_THE_CAP), 503)
        assert error(response) and response.values("retry-after") == ["1"]


@pytest.mark.parametrize("path", PATHS)
def test_slow_bodies_end(module, cache, tmp_path, path):
    def hurry(whole: dict) -> None:
        manager(whole)["request_timeout"] = f"{DEADLINE_SECONDS}s"

    with Front(tmp_path, cache.port, hurry) as front, slow_clients(front.port, path) as clients:
        for _ in range(ROUNDS):
            trickle(clients)
        statuses = {status(client) for client in clients}
        # 503: there was no place for it.
        assert 408 in statuses and statuses <= {408, 503, None}


def test_a_long_and_steady_upload_has_its_time(module, origin, tmp_path):
    deadline = manager(configuration())["request_timeout"]
    assert int(deadline.removesuffix("s")) * SLOWEST_BYTES_PER_SECOND >= LONGEST_UPLOAD
    body = body_of(20 << 20)
    parts = [body[start : start + (4 << 20)] for start in range(0, len(body), 4 << 20)]
    with Front(tmp_path, origin.port) as front, http1.Connection(front.port) as connection:
        connection.send_head("POST", "/v1/files", [("Content-Length", str(len(body)))])
        for part in parts:
            connection.send(part)
            time.sleep(PAUSE_SECONDS)
        received = connection.read_response().received()
        assert (received.length, received.complete) == (len(body), True)
        assert_hashed(http1.request(front.port, "POST", "/v1/embeddings", body=b"after"), b"after")


def test_held_bodies_have_a_bound_in_bytes(module, cache, tmp_path):
    heap, size = 200 << 20, 900_000

    def shrink(whole: dict) -> None:
        whole["overload_manager"]["resource_monitors"][0]["typed_config"]["max_heap_size_bytes"] = heap
        for each in manager(whole)["http_filters"]:
            if each["name"].startswith("body-hash-"):
                role = each["name"].rpartition("-")[2]
                each["typed_config"]["config"]["configuration"]["value"] = json.dumps({"role": role, "stallTimeout": 60_000})

    with Front(tmp_path, cache.port, shrink) as front:
        acts = "overload.envoy.overload_actions.reset_high_memory_stream."
        with ExitStack() as stack:
            for _ in range(HOARDERS):
                client = stack.enter_context(http1.Connection(front.port))
                client.send_head("POST", "/v1/embeddings", [("Content-Length", "1000000")])
                try:
                    client.send(b"x" * size)
                except OSError:
                    pass
            eventually(lambda: front.envoy.stats(acts).get("scale_percent"), 60, "Envoy resets the largest")
        eventually(lambda: http1.request(front.port, "GET", "/healthz").status == 200, 60, "the gateway serves")

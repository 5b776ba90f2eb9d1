"""What takes much memory elsewhere, all at once, at pods with the limits of dev: the kernel kills nothing in any of them.

tests/backend and tests/filter have each of them alone, with exact bounds; here they meet, behind proxies, in real containers.
"""

import base64
import json
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import pytest
from asking import MODEL, ask, body_of, embed, fresh, fresh_key
from cluster.control_plane import ISTIO_NAMESPACE
from cluster.gateway import HOST, NAMESPACE
from cluster.waiting import until
from harness.attacks import BODIES, MIB, REFUSALS, gzip_bomb
from test_deploy import restarts

PORT = 80
SECONDS = 180
# Twice each large body, and as many that grow where they are unpacked: of the client, and of the upstream.
TIMES, BOMBS, BOMB_MIB = 2, 8, 256
# A miss each, while the upstream takes its time.
MISSES, UPSTREAM_MILLISECONDS, CALLERS = 300, 2_000, 64
# Connections that say nothing, or begin a head of most of what is taken; clients who send a byte now and then.
IDLE, HEADS, HEAD_BYTES, TRICKLING = 500, 100, 80_000, 200
# Each is owed 60 MB of decimals, and reads none.
READERS, INPUTS = 24, 2_048
HONEST = 15
# No answer is an answer, too: hundreds of megabytes are on their way through two processors.
MEANWHILE = {200, 429, 503, 504, None}
# So is that a body came too slowly.
LARGE = REFUSALS | MEANWHILE - {200} | {408}


def post(body: bytes, key: str, **headers: str) -> int | None:
    """The status; None where the connection broke."""
    own = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"} | {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        return ask("POST", "/v1/embeddings", body, own).status
    except OSError:
        return None


def head(key: str, more: str) -> bytes:
    return f"POST /v1/embeddings HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json\r\n{more}".encode()


@contextmanager
def held(count: int, sent: bytes = b"") -> Iterator[list[socket.socket]]:
    """So many connections on which this was sent, and nothing is read."""
    with ExitStack() as stack:
        connections = [stack.enter_context(socket.create_connection((HOST, PORT), SECONDS)) for _ in range(count)]
        for each in connections:
            try:
                each.sendall(sent)
            except OSError:
                # Refused, which is an answer.
                continue
        yield connections


def trickle(connections: list[socket.socket], ended: threading.Event) -> None:
    while not ended.wait(1):
        for each in connections:
            try:
                each.send(b"1\r\nx\r\n")
            except OSError:
                # Refused, which is an answer.
                continue


@contextmanager
def clients_that_hold(key: str) -> Iterator[None]:
    """Those that say nothing, too slowly or too much, and those that do not read."""
    repeated = json.dumps({"model": MODEL, "input": [fresh("unread")] * INPUTS, "encoding_format": "float"}).encode()
    ended = threading.Event()
    with ExitStack() as stack:
        stack.enter_context(held(IDLE))
        stack.enter_context(held(HEADS, head(key, f"a: {'x' * HEAD_BYTES}")))
        stack.enter_context(held(READERS, head(key, f"Content-Length: {len(repeated)}\r\n\r\n") + repeated))
        slow = stack.enter_context(held(TRICKLING, head(key, "Transfer-Encoding: chunked\r\n\r\n")))
        trickling = threading.Thread(target=trickle, args=(slow, ended), daemon=True)
        trickling.start()
        try:
            yield
        finally:
            ended.set()
            trickling.join(SECONDS)


@pytest.fixture
def slow_and_hostile(gateway) -> Iterator[tuple[str, str]]:
    """Keys: for one the upstream is slow, for the other it answers with what does not fit into any memory once it is unpacked."""
    slow, hostile = fresh_key(), fresh_key()
    bomb = {"headers": {"content-encoding": "gzip"}, "body_base64": base64.b64encode(gzip_bomb(BOMB_MIB)).decode()}
    faults = [{"when": {"key": slow}, "delay_ms": UPSTREAM_MILLISECONDS}, {"when": {"key": hostile}} | bomb]
    gateway.upstream.fail(*faults)
    yield slow, hostile
    gateway.upstream.fail()


def submit_all(callers: ThreadPoolExecutor, key: str, slow: str, hostile: str) -> dict[str, list[Future]]:
    bomb = gzip_bomb(BOMB_MIB)
    return {
        "misses": [callers.submit(post, body_of(fresh("miss")), slow) for _ in range(MISSES)],
        "large": [callers.submit(post, body, key) for body in [*BODIES.values()] * TIMES],
        "packed": [callers.submit(post, bomb, key, Content_Encoding="gzip") for _ in range(BOMBS)],
        "packed answers": [callers.submit(post, body_of(fresh("bomb")), hostile) for _ in range(BOMBS)],
    }


def test_nothing_of_all_this_at_once_kills_a_container(mesh, gateway, key, slow_and_hostile, record_property):
    before = mesh.memory_kills()
    with ThreadPoolExecutor(CALLERS) as callers, clients_that_hold(key):
        attacks = submit_all(callers, key, *slow_and_hostile)
        meanwhile = {post(body_of(fresh("meanwhile")), key) for _ in range(HONEST)}
        statuses = {name: Counter(each.result(SECONDS) for each in found) for name, found in attacks.items()}
    record_property("answers to attacks", {name: dict(found) for name, found in statuses.items()})
    record_property("at their peak, MiB", {name: peak // MIB for name, peak in mesh.memory_peaks(NAMESPACE).items()})
    assert all(found.keys() - {None} for found in statuses.values()), "of each kind some were answered"
    assert meanwhile <= MEANWHILE
    assert statuses["large"].keys() <= LARGE
    assert statuses["misses"].keys() <= MEANWHILE
    # What is packed passes as it is, for the upstream to judge; an answer that does not fit is none.
    assert 200 not in statuses["packed"] and 200 not in statuses["packed answers"]
    assert restarts(mesh) == {}
    assert mesh.memory_kills() == before == {}
    until(lambda: post(body_of(fresh("after")), key) == 200, SECONDS, "embeddings afterwards")
    text = fresh("after")
    until(lambda: embed(text, key).from_varnish, SECONDS, "and from Varnish")
    (entry,) = mesh.pods(ISTIO_NAMESPACE, "istio=ingressgateway")
    assert entry["status"]["containerStatuses"][0]["restartCount"] == 0

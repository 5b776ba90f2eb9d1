"""The production overlay with its own gateway, of which istiod makes pods: TLS, the filter, routes, and what they refuse."""

import http.client
import json
import os
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from asking import body_of, fresh, hash_of
from cluster.authorization import Authorization, Provider
from cluster.gateway import NAMESPACE, WAVE_SECONDS
from cluster.gateway_api import certificate_secret
from cluster.proxy import Proxy
from cluster.waiting import until
from harness.client import TIMEOUT_SECONDS, Answer

OVERLAY = str(Path(__file__).parent / "production")
HOST, PURGE_HOST = "embedding-gateway.kaidotio.dev", "embedding-gateway-purge.kaidotio.dev"
GATEWAY_PODS = "gateway.networking.k8s.io/gateway-name=embedding-gateway"
LOG_SECONDS = 120
HEAP = "envoy.resource_monitors.fixed_heap"


@dataclass(frozen=True)
class Entry:
    """The gateway's first pod, as a client reaches it."""

    address: str

    def ask(self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None, host: str = HOST) -> Answer:
        connection = http.client.HTTPSConnection(host, timeout=TIMEOUT_SECONDS, context=_anyone())
        # The name in the handshake chooses the listener and its certificate; nothing resolves it.
        connection._create_connection = lambda _, *rest: socket.create_connection((self.address, 443), *rest)
        try:
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        finally:
            connection.close()

    def embed(self, text: str, key: str, **headers: str) -> Answer:
        own = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        return self.ask("POST", "/v1/embeddings", body_of(text), own | {name.replace("_", "-"): value for name, value in headers.items()})


def _anyone() -> ssl.SSLContext:
    """The certificates of the test sign themselves."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


@pytest.fixture(scope="module")
def entry(mesh, gateway, tmp_path_factory) -> Entry:
    """In dev's place."""
    # How it ends with grace was seen before: test_delete.py.
    mesh.kubectl("delete", "-k", gateway.overlay.path, "--ignore-not-found", "--wait=false")
    mesh.end(NAMESPACE)
    gateway.registry.publish_filter("production", OVERLAY="production")
    folder = tmp_path_factory.mktemp("certificates")
    mesh.kubectl("create", "namespace", NAMESPACE)
    mesh.apply([certificate_secret(folder, "embedding-gateway-tls", NAMESPACE, HOST), certificate_secret(folder, "embedding-gateway-purge-tls", NAMESPACE, PURGE_HOST)])
    mesh.kubectl("apply", "-k", OVERLAY)
    until(lambda: len(mesh.pods(NAMESPACE, GATEWAY_PODS)) >= 2, WAVE_SECONDS, "istiod makes two pods of the Gateway")
    until(lambda: mesh.settled(NAMESPACE), WAVE_SECONDS, "production")
    reached = Entry(mesh.pods(NAMESPACE, GATEWAY_PODS)[0]["status"]["podIP"])
    until(lambda: answers(reached), WAVE_SECONDS, "an answer through the gateway")
    return reached


def answers(entry: Entry) -> bool:
    try:
        return entry.ask("GET", "/healthz").status == 200
    except OSError:
        return False


def test_every_pod_of_production_is_ready_where_restricted_is_enforced(mesh, entry):
    labels = mesh.api.get(f"/api/v1/namespaces/{NAMESPACE}")["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    assert mesh.unready(NAMESPACE) == []
    apps = {pod["metadata"]["labels"].get("app", "gateway") for pod in mesh.pods(NAMESPACE)}
    assert {"embedding-gateway", "embedding-gateway-varnish", "embedding-gateway-endpoint-broadcaster", "gateway"} <= apps


def test_the_gateways_memory_has_a_bound_below_its_pods_limit(mesh, entry):
    pods = mesh.pods(NAMESPACE, GATEWAY_PODS)
    for pod in pods:
        (limit,) = [each["resources"]["limits"]["memory"] for each in pod["spec"]["containers"] if each["name"] == "istio-proxy"]
        assert limit == "1Gi"
        assert_memory_is_bound(Proxy(mesh, NAMESPACE, pod["metadata"]["name"]), 768 * 2**20)


def assert_memory_is_bound(proxy: Proxy, most: int) -> None:
    """As Envoy itself has it."""
    manager = proxy.bootstrap()["overload_manager"]
    (monitor,) = [each["typed_config"] for each in manager["resource_monitors"] if each["name"] == HEAP]
    assert int(monitor["max_heap_size_bytes"]) == most
    assert {"envoy.overload_actions.reset_high_memory_stream", "envoy.overload_actions.stop_accepting_requests"} <= {each["name"] for each in manager["actions"]}
    assert manager["buffer_factory_config"]["minimum_account_to_track_power_of_two"] == 16


def test_production_is_served_over_tls_and_from_varnish(gateway, entry, key):
    text = fresh("production")
    until(lambda: entry.embed(text, key).status == 200, WAVE_SECONDS, "embeddings")
    again = entry.embed(text, key, x_body_hash="0" * 64)
    assert (again.status, again.from_varnish) == (200, True)
    lines = until(lambda: gateway.varnish_log(hash_of(body_of(text))), LOG_SECONDS, "a line with the hash")
    assert lines[-1]["peer"].endswith(f"/ns/{NAMESPACE}/sa/embedding-gateway-istio")
    assert gateway.varnish_log("0" * 64) == []


def test_production_keeps_one_body_on_one_varnish(gateway, entry, key):
    def kept() -> list[str] | None:
        """Bodies whose every answer but the first came from Varnish."""
        texts = [fresh("sticky") for _ in range(8)]
        answers = [[entry.embed(text, key).from_varnish for text in texts] for _ in range(3)]
        return texts if answers[1:] == [[True] * len(texts)] * 2 else None

    # A pod of which the gateway has just learnt takes its share of them.
    texts = until(kept, WAVE_SECONDS, "each body on one Varnish")
    hashes = {hash_of(body_of(text)) for text in texts}

    def pods() -> dict[str, list[str]]:
        lines = [line for line in gateway.varnish_lines() if line.get("x-body-hash") in hashes]
        return {each: [line["pod"] for line in lines if line["x-body-hash"] == each] for each in hashes}

    found = until(lambda: pods() if all(len(seen) >= 3 for seen in pods().values()) else None, LOG_SECONDS, "three lines each")
    assert all(len(set(seen)) == 1 for seen in found.values()), found
    assert len({seen[0] for seen in found.values()}) > 1, "all pods are at work"


@pytest.mark.parametrize(
    ("method", "path", "host", "status"),
    [
        ("PURGE", "/v1/embeddings", HOST, 403),
        ("GET", "/metrics", HOST, 404),
        ("GET", "/", HOST, 404),
        # The provider `ext-authz` is not there yet, and without it nothing gets in.
        ("PURGE", "/v1/embeddings", PURGE_HOST, 403),
        ("GET", "/v1/models", "elsewhere.example.com", 404),
    ],
)
def test_production_refuses(entry, method, path, host, status):
    try:
        assert entry.ask(method, path, host=host).status == status
    except (ssl.SSLError, ConnectionError):
        assert host not in (HOST, PURGE_HOST), "no listener has this name"


@pytest.fixture(scope="module")
def authorization(mesh, entry, tmp_path_factory) -> Iterator[Provider]:
    """The real oauth2-proxy before a provider of the test."""
    running = Authorization(Path(os.environ["MESH_KIT"]), tmp_path_factory.mktemp("authorization") / "provider")
    mesh.apply(running.objects())
    yield running.provider
    running.stop()


def purge(entry: Entry, token: str | None) -> Answer:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return entry.ask("PURGE", "/v1/embeddings", headers=headers, host=PURGE_HOST)


def purged(entry: Entry, token: str | None) -> bool:
    """Whether the endpoint-broadcaster answered. Its bucket is not here, so it purges nothing, and says so."""
    answer = purge(entry, token)
    return answer.status == 502 and answer.json["error"]["code"] == "backend_failed"


def test_an_operators_token_leads_to_the_broadcaster_and_no_other_does(entry, authorization, tmp_path):
    good = authorization.token()
    until(lambda: purged(entry, good), WAVE_SECONDS, "the mesh knows the provider")
    wrong = {
        "none": None,
        "of another audience": authorization.token(audience="another"),
        "expired": authorization.token(lives=-3600),
        "of another provider": Provider(tmp_path / "another").token(),
        "with another signature": good[:-8] + "AAAAAAAA",
    }
    # A page on which a browser may sign in.
    assert {name: purge(entry, token).status for name, token in wrong.items()} == dict.fromkeys(wrong, 403)
    assert purged(entry, good)


def test_what_the_gateway_notes_of_a_body_goes_no_further(gateway, entry, key):
    """x-request-body is of its routes alone."""
    answer = entry.ask("GET", "/v1/models", headers={"Authorization": f"Bearer {key}", "x-request-body": "a client's own"})
    assert answer.status == 200 and json.loads(answer.body)


def test_no_proxy_rejected_any_of_production(mesh, entry):
    assert mesh.control_plane.rejections() == {}

"""The production overlay on a real node: Pod Security `restricted` for the pods that istiod makes too, and enforced policies."""

import json
import socket
import ssl
from pathlib import Path

import pytest
from asking import body_of, fresh
from cluster.gateway import NAMESPACE, WAVE_SECONDS
from cluster.gateway_api import certificate_secret
from cluster.waiting import until

OVERLAY = str(Path(__file__).parent / "production")
HOST, PURGE_HOST = "embedding-gateway.kaidotio.dev", "embedding-gateway-purge.kaidotio.dev"
GATEWAY_PODS = "gateway.networking.k8s.io/gateway-name=embedding-gateway"


def send(address: str, request: bytes) -> bytes:
    """Over TLS to the gateway's pod; all that it answers until it closes."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection((address, 443), timeout=60) as plain, context.wrap_socket(plain, server_hostname=HOST) as connection:
        connection.sendall(request)
        answer = b""
        while part := connection.recv(65536):
            answer += part
    return answer


def embed(address: str, text: str, key: str) -> bytes:
    body = body_of(text)
    head = f"POST /v1/embeddings HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json\r\n"
    return send(address, f"{head}Connection: close\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)


@pytest.fixture(scope="module")
def rejected(mesh, gateway) -> int:
    """How often a proxy has rejected something before."""
    return len(mesh.control_plane.rejection_lines())


@pytest.fixture(scope="module")
def entry(mesh, gateway, rejected, tmp_path_factory) -> str:
    """The address of one of the gateway's pods; in dev's place."""
    mesh.kubectl("delete", "-k", gateway.overlay.path, "--ignore-not-found", "--timeout=180s")
    gateway.registry.publish_filter("production", OVERLAY="production")
    folder = tmp_path_factory.mktemp("certificates")
    mesh.kubectl("create", "namespace", NAMESPACE)
    secrets = {"embedding-gateway-tls": HOST, "embedding-gateway-purge-tls": PURGE_HOST}
    mesh.apply([certificate_secret(folder, name, NAMESPACE, host) for name, host in secrets.items()])
    mesh.kubectl("apply", "-k", OVERLAY)
    until(lambda: len(mesh.pods(NAMESPACE, GATEWAY_PODS)) >= 2, WAVE_SECONDS, "istiod makes two pods of the Gateway")
    until(lambda: mesh.settled(NAMESPACE), WAVE_SECONDS, "production")
    return mesh.pods(NAMESPACE, GATEWAY_PODS)[0]["status"]["podIP"]


def test_every_pod_of_production_is_ready_where_restricted_is_enforced(mesh, rejected, entry):
    labels = mesh.api.get(f"/api/v1/namespaces/{NAMESPACE}")["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    assert mesh.unready(NAMESPACE) == []
    apps = {pod["metadata"]["labels"].get("app", "gateway") for pod in mesh.pods(NAMESPACE)}
    assert {"embedding-gateway", "embedding-gateway-varnish", "embedding-gateway-endpoint-broadcaster", "gateway"} <= apps
    assert mesh.control_plane.rejection_lines()[rejected:] == []


def answered(address: str, text: str, key: str) -> bytes:
    try:
        return embed(address, text, key)
    except OSError:
        return b""


def test_production_serves_from_varnish_through_enforced_policies(mesh, entry, key):
    assert mesh.node.alive("kube-router")
    text = fresh("production")
    until(lambda: answered(entry, text, key).startswith(b"HTTP/1.1 200"), WAVE_SECONDS, "embeddings")
    again = until(lambda: (answer := answered(entry, text, key)) and b"Varnish; hit" in answer and answer, WAVE_SECONDS, "an answer from Varnish")
    assert json.loads(again.partition(b"\r\n\r\n")[2])["data"]
    assert answered(entry, text, key).startswith(b"HTTP/1.1 200")

"""Pods of other namespaces that call the entry from inside the mesh: component `in-mesh-clients`."""

import pytest
from asking import body_of, fresh
from cluster.waiting import until

SECONDS = 120
NAMESPACE = "clients"
# The second is not named by the component.
NAMESPACES = (NAMESPACE, "strangers")
ENTRY = "http://embedding-gateway.embedding-gateway:8080"


def client(namespace: str) -> list[dict]:
    """A namespace of the mesh with a pod that has curl, and hashes what it sends."""
    labels = {"embedding-gateway.kaidotio.dev/sticky": "true"}
    container = {"name": "curl", "image": "quay.io/curl/curl:8.22.0", "command": ["sleep", "infinity"]}
    spec = {"containers": [container], "terminationGracePeriodSeconds": 0}
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": {"istio-injection": "enabled"}}},
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "client", "namespace": namespace, "labels": labels}, "spec": spec},
    ]


@pytest.fixture(scope="module")
def callers(mesh, gateway):
    """One in each namespace, ready."""
    objects = [client(each) for each in NAMESPACES]
    mesh.apply([namespace for namespace, _ in objects])
    for each in NAMESPACES:
        until(lambda each=each: mesh.found(f"/api/v1/namespaces/{each}/serviceaccounts/default"), SECONDS, "its account")
    mesh.apply([pod for _, pod in objects])
    for each in NAMESPACES:
        until(lambda each=each: mesh.pods(each) and mesh.unready(each) == [], SECONDS, "a client in the mesh")
    yield
    mesh.kubectl("delete", "namespace", *NAMESPACES, "--wait=false")


def ask(mesh, namespace: str, *arguments: str) -> tuple[int, str]:
    """Status and headers."""
    command = ("curl", "-s", "-m", "60", "-D", "-", "-o", "/dev/null", *arguments)
    done = mesh.kubectl("-n", namespace, "exec", "client", "-c", "curl", "--", *command, check=False).stdout
    return (int(done.split()[1]), done.lower()) if done.startswith("HTTP") else (0, done)


def embed(mesh, namespace: str, text: str, key: str) -> tuple[int, str]:
    own = ("-H", f"Authorization: Bearer {key}", "-H", "Content-Type: application/json", "-d", body_of(text).decode())
    return ask(mesh, namespace, *own, f"{ENTRY}/v1/embeddings")


def test_a_named_namespace_is_served(mesh, callers, key):
    text = fresh("in the mesh")
    until(lambda: embed(mesh, NAMESPACE, text, key)[0] == 200, SECONDS, "an answer in the mesh")
    status, headers = embed(mesh, NAMESPACE, text, key)
    assert status == 200 and "varnish; hit" in headers
    assert ask(mesh, NAMESPACE, "-X", "PURGE", f"{ENTRY}/v1/embeddings")[0] == 403
    assert ask(mesh, NAMESPACE, f"{ENTRY}/metrics")[0] == 403


def test_another_namespace_is_not(mesh, callers, key):
    """Not even a connection, once the controller of policies knows the pod: 503 of its own proxy, or a time-out."""
    until(lambda: embed(mesh, "strangers", fresh("refused"), key)[0] in (0, 403, 503), SECONDS, "a refusal")

"""Pods of other namespaces that call the entry from inside the mesh: component `in-mesh-clients`."""

import pytest
from asking import body_of, fresh
from cluster.waiting import until

SECONDS = 120
NAMESPACE = "clients"
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


@pytest.fixture(scope="module", params=[NAMESPACE, "strangers"])
def namespace(request, mesh, gateway):
    namespace_, pod = client(request.param)
    mesh.apply([namespace_])
    account = f"/api/v1/namespaces/{request.param}/serviceaccounts/default"
    until(lambda: mesh.found(account), SECONDS, "its account")
    mesh.apply([pod])
    until(lambda: mesh.pods(request.param) and mesh.unready(request.param) == [], SECONDS, "a client in the mesh")
    yield request.param
    mesh.kubectl("delete", "namespace", request.param)


def ask(mesh, namespace: str, *arguments: str) -> tuple[int, str]:
    """Status and headers."""
    command = ("curl", "-s", "-m", "60", "-D", "-", "-o", "/dev/null", *arguments)
    done = mesh.kubectl("-n", namespace, "exec", "client", "-c", "curl", "--", *command, check=False).stdout
    return (int(done.split()[1]), done.lower()) if done.startswith("HTTP") else (0, done)


def embed(mesh, namespace: str, text: str, key: str) -> tuple[int, str]:
    own = ("-H", f"Authorization: Bearer {key}", "-H", "Content-Type: application/json", "-d", body_of(text).decode())
    return ask(mesh, namespace, *own, f"{ENTRY}/v1/embeddings")


def test_a_named_namespace_is_served_and_no_other(mesh, namespace, key):
    if namespace != NAMESPACE:
        # Not even a connection, once the controller of policies knows the pod: 503 of its own proxy, or a time-out.
        until(lambda: embed(mesh, namespace, fresh("refused"), key)[0] in (0, 403, 503), SECONDS, "a refusal")
        return
    text = fresh("in the mesh")
    until(lambda: embed(mesh, namespace, text, key)[0] == 200, SECONDS, "an answer in the mesh")
    status, headers = embed(mesh, namespace, text, key)
    assert status == 200 and "varnish; hit" in headers
    assert ask(mesh, namespace, "-X", "PURGE", f"{ENTRY}/v1/embeddings")[0] == 403
    assert ask(mesh, namespace, f"{ENTRY}/metrics")[0] == 403

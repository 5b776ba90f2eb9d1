"""Who may do what: every identity at every workload with every method and path, against a table written from the design."""

import http.client
import itertools
import ssl
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest
from cluster.gateway import NAMESPACE
from cluster.identities import Authority, Identity

SECONDS = 60
IDENTITIES = {
    "ingress gateway": Identity("istio-system", "istio-ingressgateway-service-account"),
    "varnish": Identity(NAMESPACE, "embedding-gateway-varnish"),
    "broadcaster": Identity(NAMESPACE, "embedding-gateway-endpoint-broadcaster"),
    "backend": Identity(NAMESPACE, "embedding-gateway"),
    "bucket job": Identity(NAMESPACE, "minio-bucket"),
    "object store": Identity(NAMESPACE, "seaweedfs"),
    "default account": Identity(NAMESPACE, "default"),
    "monitoring": Identity("monitoring", "prometheus"),
    "stranger": Identity("elsewhere", "default"),
    # Names that begin as those that are let in.
    "like varnish": Identity(NAMESPACE, "embedding-gateway-varnish-2"),
    "like the ingress gateway": Identity("istio-system-2", "istio-ingressgateway-service-account"),
}
DESTINATIONS = {
    "varnish": ("app=embedding-gateway-varnish", 6081),
    "backend": ("app=embedding-gateway", 8000),
    "broadcaster": ("app=embedding-gateway-endpoint-broadcaster", 8080),
    "object store": ("app.kubernetes.io/component=object-store", 9000),
}
METHODS = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PURGE"]
# What a proxy makes of a path before it judges it.
PATHS = {
    path: path for path in ["/", "/healthz", "/readyz", "/metrics", "/metrics/more", "/v1", "/v1/embeddings", "/v1/models"]
} | {"/v1/../metrics": "/metrics", "/v1/%2e%2e/metrics": "/metrics"}

Rule = Callable[[str, str], bool]
# A client that is not named is refused.
ALLOWED: dict[str, dict[str, Rule]] = {
    "varnish": {
        "ingress gateway": lambda method, path: method != "PURGE",
        "broadcaster": lambda method, path: method == "PURGE",
    },
    "backend": {
        "varnish": lambda method, path: method != "PURGE" and (path in ("/healthz", "/readyz") or path.startswith("/v1/")),
        "broadcaster": lambda method, path: method == "PURGE",
        "monitoring": lambda method, path: (method, path) == ("GET", "/metrics"),
    },
    "broadcaster": {"ingress gateway": lambda method, path: method == "PURGE"},
    "object store": {"backend": lambda method, path: True, "bucket job": lambda method, path: True},
}


@dataclass(frozen=True)
class Cell:
    identity: str
    destination: str
    method: str
    path: str

    @property
    def expected(self) -> bool:
        rule = ALLOWED[self.destination].get(self.identity, lambda method, path: False)
        return rule(self.method, PATHS[self.path])


@pytest.fixture(scope="module")
def authority(mesh, gateway, tmp_path_factory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority") / "mesh", mesh.api)


@pytest.fixture(scope="module")
def addresses(mesh, gateway) -> dict[str, tuple[str, int]]:
    """A running Pod of each destination, and its port."""
    return {name: (mesh.pods(NAMESPACE, label)[0]["status"]["podIP"], port) for name, (label, port) in DESTINATIONS.items()}


def served(address: tuple[str, int], context: ssl.SSLContext, method: str, path: str) -> bool:
    """Whether the workload itself answered. A refusal is its proxy's 403, which no workload had a part in."""
    connection = http.client.HTTPSConnection(*address, timeout=SECONDS, context=context)
    try:
        connection.request(method, path, headers={"Host": "matrix.test"})
        answer = connection.getresponse()
        reached = "x-envoy-upstream-service-time" in answer.headers
        assert reached or answer.status == 403, f"{answer.status} {answer.read()!r}: neither served nor refused"
        return reached
    finally:
        connection.close()


def test_every_cell_of_the_matrix(authority, addresses, record_property):
    wrong, counts = [], {True: 0, False: 0}

    def try_all_of(identity: str) -> None:
        context = authority.context(IDENTITIES[identity])
        for destination, method, path in itertools.product(DESTINATIONS, METHODS, PATHS):
            cell = Cell(identity, destination, method, path)
            was_served = served(addresses[destination], context, method, path)
            counts[was_served] += 1
            if was_served != cell.expected:
                wrong.append((cell, "served" if was_served else "refused"))

    with ThreadPoolExecutor(len(IDENTITIES)) as callers:
        list(callers.map(try_all_of, IDENTITIES))
    assert wrong == []
    assert sum(counts.values()) == len(IDENTITIES) * len(DESTINATIONS) * len(METHODS) * len(PATHS)
    record_property("cells of the matrix", f"{counts[True]} served, {counts[False]} refused")


@pytest.mark.parametrize("destination", DESTINATIONS)
def test_without_a_certificate_of_the_mesh_there_is_no_connection(authority, addresses, destination, tmp_path):
    host, port = addresses[destination]
    plain = http.client.HTTPConnection(host, port, timeout=SECONDS)
    with pytest.raises((OSError, http.client.HTTPException)):
        plain.request("GET", "/healthz")
        plain.getresponse()
    stranger = Authority(tmp_path / "stranger", None)
    for context in (authority.context(None), stranger.context(IDENTITIES["ingress gateway"], trusted=authority)):
        with pytest.raises((OSError, http.client.HTTPException)):
            served((host, port), context, "GET", "/healthz")

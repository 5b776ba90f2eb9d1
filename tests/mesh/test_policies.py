"""Who may do what: every identity at every workload with every method and path, against a table written from the design."""

import http.client
import itertools
import ssl
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
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
    "object store": Identity(NAMESPACE, "minio"),
    "in-mesh client": Identity("clients", "default"),
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
        "in-mesh client": lambda method, path: method != "PURGE" and (path == "/healthz" or path.startswith("/v1/")),
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


def served(connection: http.client.HTTPSConnection, method: str, path: str) -> bool:
    """Whether the workload itself answered. A refusal is its proxy's 403, which no workload had a part in."""
    connection.request(method, path, headers={"Host": "matrix.test"})
    answer = connection.getresponse()
    reached, said = "x-envoy-upstream-service-time" in answer.headers, answer.read()
    assert reached or answer.status == 403, f"{answer.status} {said!r}: neither served nor refused"
    return reached


def connection_to(address: tuple[str, int], context: ssl.SSLContext) -> http.client.HTTPSConnection:
    return http.client.HTTPSConnection(*address, timeout=SECONDS, context=context)


def test_every_cell_of_the_matrix(authority, addresses, record_property):
    def try_all_of(identity: str) -> list[tuple[Cell, bool]]:
        context, found = authority.context(IDENTITIES[identity]), []
        for destination in DESTINATIONS:
            with closing(connection_to(addresses[destination], context)) as connection:
                cells = [Cell(identity, destination, method, path) for method, path in itertools.product(METHODS, PATHS)]
                found += [(cell, served(connection, cell.method, cell.path)) for cell in cells]
        return found

    with ThreadPoolExecutor(len(IDENTITIES)) as callers:
        found = list(itertools.chain.from_iterable(callers.map(try_all_of, IDENTITIES)))
    assert [(cell, "served" if was_served else "refused") for cell, was_served in found if was_served != cell.expected] == []
    assert len(found) == len(IDENTITIES) * len(DESTINATIONS) * len(METHODS) * len(PATHS)
    allowed = sum(was_served for _, was_served in found)
    record_property("cells of the matrix", f"{allowed} served, {len(found) - allowed} refused")


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
            served(connection_to((host, port), context), "GET", "/healthz")

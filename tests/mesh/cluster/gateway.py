"""The product in the cluster, from its ingress gateway to its upstream."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from cluster.control_plane import ISTIO_NAMESPACE
from cluster.mesh import Mesh
from cluster.overlay import Overlay
from cluster.proxy import Proxy
from cluster.upstream import ADDRESS, NAME, Upstream
from cluster.waiting import until

NAMESPACE = "embedding-gateway"
HOST = "embedding-gateway.minikube.127.0.0.1.nip.io"
PURGE_HOST = "embedding-gateway-purge.minikube.127.0.0.1.nip.io"
VARNISH = "embedding-gateway-varnish"
FILTER_VERSION = "test-1"
# What dev does not have by itself, and a node can show.
MORE = ("in-mesh-clients", "varnish-exporter")
# Envoys compile the module, images come from the registry, and two cores do all of it.
WAVE_SECONDS = 300
_LAYER = Path(__file__).parents[1] / "overlay"
_INGRESS = Path(__file__).parents[1] / "manifests/ingress_gateway.yaml"


class Gateway:
    """What surrounds the manifests, and what can be done with them."""

    def __init__(self, mesh: Mesh, folder: Path, layer: Path = _LAYER) -> None:
        self.mesh = mesh
        self.upstream = Upstream(folder / "upstream")
        mesh.names.add(NAME, ADDRESS)
        self.registry = mesh.registry
        self.overlay = Overlay(folder / "kustomize", layer)
        self.use(*MORE)
        with ThreadPoolExecutor(1) as aside:
            published = aside.submit(self.registry.publish_filter, FILTER_VERSION)
            self._start_ingress()
            self.filter_digest = published.result()

    def use(self, *components: str) -> None:
        """These components and no others beside dev's own."""
        self.overlay.use(components)

    def apply_in_waves(self) -> None:
        """As Argo CD does: the next wave when the one before is healthy."""
        for number, objects in self.overlay.waves():
            self.mesh.apply(objects)
            self.wait(f"wave {number}")

    def apply(self) -> None:
        """All at once."""
        self.mesh.kubectl("apply", "-k", self.overlay.path)

    def wait(self, what: str) -> None:
        until(lambda: self.mesh.settled(NAMESPACE), WAVE_SECONDS, what)

    def varnish_log(self, body_hash: str) -> list[dict]:
        """What the sidecars of the Varnish pods logged about requests with this hash, each with the pod's name."""
        return [line for line in self.varnish_lines() if line.get("x-body-hash") == body_hash]

    def varnish_lines(self) -> list[dict]:
        """Every line of their access log so far."""
        found = self.mesh.logs(NAMESPACE, f"app={VARNISH}", "istio-proxy")
        return [json.loads(line) | {"pod": pod} for pod, line in found if line.startswith('{"')]

    def varnish_pods(self) -> list[str]:
        return sorted(pod["metadata"]["name"] for pod in self.mesh.pods(NAMESPACE, f"app={VARNISH}"))

    def varnish_addresses(self) -> set[str]:
        return {pod["status"]["podIP"] for pod in self.mesh.pods(NAMESPACE, f"app={VARNISH}")}

    def ingress(self) -> Proxy:
        return Proxy(self.mesh, ISTIO_NAMESPACE, self._ingress["metadata"]["name"])

    def wait_for_varnish_at_the_ingress(self) -> None:
        """Until requests reach the Varnish pods that there are, and no others."""
        wanted = self.varnish_addresses()
        until(lambda: self.ingress().endpoints(VARNISH, 6081) == wanted, WAVE_SECONDS, "Varnish at the gateway")

    def proxies_with_the_filter(self) -> list[Proxy]:
        return [self.ingress(), *(Proxy(self.mesh, NAMESPACE, name) for name in self.varnish_pods())]

    def stop(self) -> None:
        self.upstream.stop()

    def _start_ingress(self) -> None:
        self.mesh.kubectl("apply", "--filename", str(_INGRESS))
        until(lambda: self.mesh.settled(ISTIO_NAMESPACE), WAVE_SECONDS, "the ingress gateway")
        (self._ingress,) = self.mesh.pods(ISTIO_NAMESPACE, "istio=ingressgateway")
        for host in (HOST, PURGE_HOST):
            self.mesh.names.add(host, self._ingress["status"]["podIP"])

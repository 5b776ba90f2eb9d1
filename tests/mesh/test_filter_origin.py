"""The filter comes as in a cluster: istiod names the image, and the agent in each Pod fetches it from the registry."""

from cluster.control_plane import ISTIO_NAMESPACE
from cluster.gateway import NAMESPACE


def test_every_pod_with_the_filter_fetched_it_from_the_registry(mesh, gateway):
    pods = [*mesh.pods(NAMESPACE, "app=embedding-gateway-varnish"), *mesh.pods(ISTIO_NAMESPACE, "istio=ingressgateway")]
    addresses = {pod["status"]["podIP"] for pod in pods}
    assert len(addresses) == 3
    assert addresses <= gateway.registry.pullers(gateway.filter_digest)

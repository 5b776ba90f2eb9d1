"""The native module on Varnish's sidecars, by an init container, and the pair of `traffic-extension` on the ingress gateway."""

import pytest
from asking import body_of, embed, fresh, hash_of
from cluster.gateway import NAMESPACE, VARNISH
from cluster.waiting import until
from test_delete import NATIVE

SECONDS = 300


@pytest.fixture(scope="module")
def native(mesh, gateway):
    """In the pair's place: as test_delete.py has left it, or alone."""
    pods = mesh.pods(NAMESPACE, f"app={VARNISH}")
    if not all("body-hash-native" in {each["name"] for each in pod["spec"]["initContainers"]} for pod in pods):
        mesh.kubectl("delete", "-k", gateway.overlay.path)
        gateway.use(*NATIVE)
        gateway.apply()
    until(lambda: mesh.settled(NAMESPACE), SECONDS, "Varnish with the native module")
    return gateway


def sidecar(mesh, *command: str) -> str:
    return mesh.kubectl("-n", NAMESPACE, "exec", f"{VARNISH}-0", "-c", "varnish", "--", *command).stdout


def test_the_sidecar_runs_the_module_that_an_init_container_brought(mesh, native, key):
    pod = next(each for each in mesh.pods(NAMESPACE, f"app={VARNISH}") if each["metadata"]["name"] == f"{VARNISH}-0")
    assert [each["name"] for each in pod["spec"]["containers"]][0] == "istio-proxy"
    assert "body-hash-native" in {each["name"] for each in pod["spec"]["initContainers"]}
    text = fresh("native")
    until(lambda: embed(text, key).status == 200, SECONDS, "an answer")
    spoofed = until(lambda: (again := embed(text, key, x_body_hash="0" * 64)).from_varnish and again, SECONDS, "an answer from Varnish")
    assert spoofed.status == 200

    def logged() -> bool:
        lines = mesh.kubectl("-n", NAMESPACE, "logs", "-l", f"app={VARNISH}", "-c", "istio-proxy", "--tail=-1").stdout
        return hash_of(body_of(text)) in lines

    until(logged, SECONDS, "the access log has the hash")


def test_its_counters_are_shown(mesh, native, key):
    def counted() -> bool:
        assert embed(fresh("counted"), key).status == 200
        page = sidecar(mesh, "curl", "-s", "-m", "10", "http://127.0.0.1:15020/stats/prometheus")
        return any(line.startswith("envoy_body_hash_hashed") and float(line.rsplit(" ", 1)[1]) > 0 for line in page.splitlines())

    until(counted, SECONDS, "the module's counters")


def test_a_traffic_extension_hashes_at_the_ingress_gateway(mesh, native, key):
    kinds = ("wasmplugins.extensions.istio.io", "trafficextensions.extensions.istio.io")
    found = [mesh.kubectl("get", kind, "--all-namespaces", "-o", "name").stdout.split() for kind in kinds]
    assert [len(each) for each in found] == [0, 2]
    until(lambda: set(native.ingress().modules()) == {"tap", "gate"}, SECONDS, "both of the pair at the gateway")

    def kept() -> bool:
        """Whether every answer but the first came from Varnish: without a hash at the gateway a request would go to either."""
        texts = [fresh("extended") for _ in range(8)]
        answers = [[embed(text, key).from_varnish for text in texts] for _ in range(3)]
        return answers[1:] == [[True] * len(texts)] * 2

    until(kept, SECONDS, "each body on one Varnish")

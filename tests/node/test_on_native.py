"""The native module on Varnish's sidecars, by an init container: component `body-hash-native-init`."""

import pytest
from asking import body_of, embed, fresh, hash_of
from cluster.gateway import NAMESPACE, VARNISH
from cluster.waiting import until

SECONDS = 300
COMPONENTS = ("body-hash-native", "body-hash-native-init")
ROLES = ("body-hash-tap", "body-hash-gate")


@pytest.fixture(scope="module")
def native(mesh, gateway):
    """In the pair's place."""
    lines = "".join(f"- ../../components/{each}\n" for each in (*COMPONENTS, "images"))
    gateway.overlay.replace("overlays/dev/kustomization.yaml", "- ../../components/images\n", lines)
    gateway.apply()
    # A pod without the module refuses the new configuration and keeps the old until it is rolled.
    # `kubectl apply` deletes nothing.
    mesh.kubectl("-n", NAMESPACE, "delete", "wasmplugins.extensions.istio.io", *ROLES)
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

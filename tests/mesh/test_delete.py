"""`kubectl delete -k` takes all of it away; `kubectl apply -k` brings it back at once, with the native module and the newer kind."""

from concurrent.futures import ThreadPoolExecutor

from asking import embed, fresh, wait_until_served
from cluster.gateway import NAMESPACE
from test_deploy import restarts

OURS = "app.kubernetes.io/part-of=embedding-gateway"
# On Varnish the one, on the ingress gateway the pair: what test_native.py looks at.
NATIVE = ("body-hash-native", "body-hash-native-init", "traffic-extension")


def test_nothing_of_ours_is_left(mesh, gateway):
    with ThreadPoolExecutor(1) as aside:
        deleted = aside.submit(mesh.kubectl, "delete", "-k", gateway.overlay.path)
        mesh.hasten_end(NAMESPACE)
        deleted.result()
    assert mesh.kubectl("get", "-k", gateway.overlay.path, "--ignore-not-found", "-o", "name").stdout == ""
    kinds = mesh.kubectl("api-resources", "--verbs", "list", "-o", "name").stdout.split()
    assert mesh.kubectl("get", ",".join(kinds), "--all-namespaces", "-l", OURS, "-o", "name").stdout == ""
    assert mesh.found(f"/api/v1/namespaces/{NAMESPACE}") is None


def test_all_at_once_works_as_well(mesh, gateway, key):
    gateway.use(*NATIVE)
    gateway.apply()
    gateway.wait("everything")
    gateway.wait_for_varnish_at_the_ingress()
    wait_until_served()
    assert mesh.unready(NAMESPACE) == []
    assert restarts(mesh) == {}
    text = fresh()
    assert embed(text, key).status == 200
    assert embed(text, key).from_varnish
    assert mesh.control_plane.rejections() == {}

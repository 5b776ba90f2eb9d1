"""`kubectl delete -k` takes all of it away, and `kubectl apply -k` brings it back, this time all at once."""

from asking import embed, fresh, wait_until_served
from cluster.control_plane import ISTIO_NAMESPACE
from cluster.gateway import NAMESPACE
from cluster.waiting import until
from test_deploy import restarts

REJECTION_SECONDS = 60
OURS = "app.kubernetes.io/part-of=embedding-gateway"


def test_nothing_of_ours_is_left(mesh, gateway):
    mesh.kubectl("delete", "-k", gateway.overlay.path)
    assert mesh.kubectl("get", "-k", gateway.overlay.path, "--ignore-not-found", "-o", "name").stdout == ""
    kinds = mesh.kubectl("api-resources", "--verbs", "list", "-o", "name").stdout.split()
    assert mesh.kubectl("get", ",".join(kinds), "--all-namespaces", "-l", OURS, "-o", "name").stdout == ""
    assert mesh.found(f"/api/v1/namespaces/{NAMESPACE}") is None


def test_all_at_once_works_as_well(mesh, gateway, key):
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


def test_a_configuration_that_a_proxy_rejects_is_seen(mesh, gateway):
    """The other way round: what the tests above looked for can be found. Last of all, as istiod's count never goes back."""
    code = {"@type": "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua", "default_source_code": {"inline_string": "no Lua"}}
    patch = {"operation": "INSERT_FIRST", "value": {"name": "envoy.filters.http.lua", "typed_config": code}}
    listener = {"filterChain": {"filter": {"name": "envoy.filters.network.http_connection_manager"}}}
    change = {"applyTo": "HTTP_FILTER", "match": {"context": "GATEWAY", "listener": listener}, "patch": patch}
    body = {"metadata": {"name": "broken"}, "spec": {"configPatches": [change]}}
    kind = {"apiVersion": "networking.istio.io/v1alpha3", "kind": "EnvoyFilter"}
    mesh.api.create(f"/apis/networking.istio.io/v1alpha3/namespaces/{ISTIO_NAMESPACE}/envoyfilters", kind | body)
    until(mesh.control_plane.rejections, REJECTION_SECONDS, "a rejection")
    assert any("istio-ingressgateway" in line for line in mesh.control_plane.rejection_lines())

"""The other way round: what every other test looked for in istiod's count can be found."""

from cluster.control_plane import ISTIO_NAMESPACE
from cluster.waiting import until

REJECTION_SECONDS = 120


def test_a_configuration_that_a_proxy_rejects_is_seen(mesh, gateway):
    """Last of all, as istiod's count never goes back."""
    code = {"@type": "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua", "default_source_code": {"inline_string": "no Lua"}}
    patch = {"operation": "INSERT_FIRST", "value": {"name": "envoy.filters.http.lua", "typed_config": code}}
    listener = {"filterChain": {"filter": {"name": "envoy.filters.network.http_connection_manager"}}}
    change = {"applyTo": "HTTP_FILTER", "match": {"context": "GATEWAY", "listener": listener}, "patch": patch}
    body = {"metadata": {"name": "broken"}, "spec": {"configPatches": [change]}}
    kind = {"apiVersion": "networking.istio.io/v1alpha3", "kind": "EnvoyFilter"}
    mesh.api.create(f"/apis/networking.istio.io/v1alpha3/namespaces/{ISTIO_NAMESPACE}/envoyfilters", kind | body)
    until(mesh.control_plane.rejections, REJECTION_SECONDS, "a rejection")
    assert until(mesh.control_plane.rejection_lines, REJECTION_SECONDS, "the same in words")

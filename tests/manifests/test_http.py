"""What the proxies of the mesh take, refuse and write down: the same as envoy/gateway.yaml, hop by hop."""

import copy
import re
from collections.abc import Iterator

import pytest
import yaml

from harness.paths import ROOT

from . import render, workloads
from .objects import GATEWAY_LABELS, GATEWAY_NAMESPACE, OUR_NAMESPACE, Manifests, Object, fits, ingress, namespace, plugins, selected_labels, targets

WHOLE_LAPTOP = yaml.safe_load((ROOT / "envoy/gateway.yaml").read_text())
_LISTENER = WHOLE_LAPTOP["static_resources"]["listeners"][0]
LAPTOP = _LISTENER["filter_chains"][0]["filters"][0]["typed_config"]
START_SH = (render.KUSTOMIZE / "components/varnish/start.sh").read_text()
VARNISH_LABELS = {"app": "embedding-gateway-varnish"}
# What the proxies and Varnish itself add to a request on its way: forwarding, tracing, the hash, what the VCL notes.
ADDED_HEADERS, ADDED_KIB = 40, 8
KIB = 1024


def patched(manifests: Manifests, kind: str, context: str | None = None) -> list[tuple[Object, Object]]:
    """(EnvoyFilter, value) of every patch of such things, of one kind of proxy or of all."""
    found = ((each, patch) for each in manifests.of("EnvoyFilter") for patch in each["spec"]["configPatches"])
    found = ((each, patch) for each, patch in found if context is None or patch["match"]["context"] in (context, "ANY"))
    return [(each, patch["patch"]["value"]) for each, patch in found if patch["applyTo"] == kind]


def managers(manifests: Manifests, space: str, labels: dict[str, str]) -> Object:
    """What is set on the HTTP connection managers of such pods, all patches together."""
    whole: Object = {}
    context = "GATEWAY" if labels == ingress(manifests).labels else "SIDECAR_INBOUND"
    for each, value in patched(manifests, "NETWORK_FILTER", context):
        if namespace(each) == space and fits(labels, meant(manifests, each)):
            whole |= value["typed_config"]
    return whole


def meant(manifests: Manifests, each: Object) -> dict[str, str]:
    """The labels of the pods that a filter or plugin concerns."""
    return ingress(manifests).labels if targets(each) else selected_labels(each)


def _fields(value: Object, path: str = "") -> Iterator[tuple[str, object]]:
    """Those of which the last one wins; lists are put together."""
    for key, each in value.items():
        if isinstance(each, dict):
            yield from _fields(each, f"{path}.{key}")
        elif not isinstance(each, list):
            yield f"{path}.{key}", each


@pytest.mark.parametrize("of_a_gateway", [True, False])
def test_no_field_of_a_proxy_depends_on_what_was_created_first(production: Manifests, of_a_gateway):
    labels, context = (ingress(production).labels, "GATEWAY") if of_a_gateway else (VARNISH_LABELS, "SIDECAR_INBOUND")
    found: dict[tuple[str, int], set] = {}
    for each, value in patched(production, "NETWORK_FILTER", context):
        if fits(labels, meant(production, each)):
            for path, field in _fields(value["typed_config"]):
                found.setdefault((path, each["spec"].get("priority", 0)), set()).add(field)
    assert found and [where for where, values in found.items() if len(values) > 1] == []


def removed(manager: Object) -> list[str]:
    extensions = manager.get("early_header_mutation_extensions", [])
    return [mutation["remove"] for each in extensions for mutation in each["typed_config"]["mutations"] if "remove" in mutation]


def test_a_clients_hash_is_removed_wherever_the_filter_stands(variant: Manifests):
    """Before any filter and route: with both filters off on a route, or failed open, none of a client's is left."""
    filters = [each for each, _ in plugins(variant)] + [each for each, value in patched(variant, "HTTP_FILTER") if "body-hash" in value["name"]]
    places = {(namespace(each), tuple(meant(variant, each).items())) for each in filters}
    # A client's own sidecar makes a hint, and trusts none.
    places = {(space, labels) for space, labels in places if "sticky" not in str(labels)}
    assert places
    for space, labels in places:
        assert removed(managers(variant, space, dict(labels))) == ["x-body-hash"], (space, labels)
    # In Envoy's own words, and in those of Envoy Gateway.
    for file in (ROOT / "envoy").glob("*.yaml"):
        assert re.search(r"- remove: x-body-hash|earlyRequestHeaders:\n +remove:\n +- x-body-hash", file.read_text()), file


def test_what_the_gateway_takes_every_hop_behind_it_takes(dev: Manifests):
    gateway = managers(dev, GATEWAY_NAMESPACE, GATEWAY_LABELS)
    sidecars = managers(dev, OUR_NAMESPACE, VARNISH_LABELS)
    parameters = dict(re.findall(r"^-p (\w+)=(\w+)$", START_SH, re.MULTILINE))
    headers = [each["common_http_protocol_options"]["max_headers_count"] for each in (LAPTOP, gateway, sidecars)]
    sizes = [each["max_request_headers_kb"] for each in (LAPTOP, gateway, sidecars)]
    assert headers[0] == headers[1] and headers[1] + ADDED_HEADERS <= min(headers[2], int(parameters["http_max_hdr"]))
    assert sizes[0] == sizes[1] and sizes[1] + ADDED_KIB <= min(sizes[2], int(parameters["http_req_size"].removesuffix("k")))


def test_the_gateway_takes_what_clients_write(dev: Manifests):
    options = managers(dev, GATEWAY_NAMESPACE, GATEWAY_LABELS)["http_protocol_options"]
    assert options == {"accept_http_10": True, "ignore_http_11_upgrade": [{"prefix": "TLS/"}]}


def test_a_neighbours_refusals_stay_as_they_are(dev: Manifests):
    """On a gateway that others share each rule asks for our host, or for a request that has none."""
    (host,) = dev.get("Gateway", "embedding-gateway")["spec"]["servers"][0]["hosts"]
    for rule in managers(dev, GATEWAY_NAMESPACE, GATEWAY_LABELS)["local_reply_config"]["mappers"]:
        _, whose = rule["filter"]["and_filter"]["filters"]
        ours, none = (each["header_filter"]["header"] for each in whose["or_filter"]["filters"])
        assert ours == {"name": ":authority", "string_match": {"prefix": host}}
        assert none == {"name": ":authority", "present_match": True, "invert_match": True}


@pytest.mark.parametrize("space", [GATEWAY_NAMESPACE, OUR_NAMESPACE])
def test_a_refusal_of_a_proxy_is_in_openais_envelope(dev: Manifests, space):
    labels = GATEWAY_LABELS if space == GATEWAY_NAMESPACE else VARNISH_LABELS
    rules = managers(dev, space, labels)["local_reply_config"]["mappers"]
    errors = [rule["body_format_override"]["json_format"]["error"] for rule in rules]
    assert all(error.keys() == {"message", "type", "param", "code"} for error in errors)
    assert [error["type"] for error in errors] == ["server_error", "server_error", "invalid_request_error"]


def test_a_request_has_its_time_and_no_more(dev: Manifests):
    sidecar = managers(dev, OUR_NAMESPACE, VARNISH_LABELS)
    for limit in ("request_timeout", "request_headers_timeout", "stream_idle_timeout"):
        assert sidecar[limit] == LAPTOP[limit], limit


def test_slow_bodies_take_places_of_their_own(dev: Manifests):
    subsets = {each["name"]: each for each in dev.get("DestinationRule", "embedding-gateway-varnish")["spec"]["subsets"]}
    for name, subset in subsets.items():
        assert "labels" not in subset, "each leads to all pods"
        pool = subset["trafficPolicy"]["connectionPool"]
        assert pool["tcp"]["maxConnections"] > pool["http"]["http2MaxRequests"] > 0, f"{name}: a call too many would wait"
    routes = dev.get("VirtualService", "embedding-gateway")["spec"]["http"]
    led = [http["route"][0]["destination"]["subset"] for http in routes if "route" in http]
    assert led == ["probes", "embeddings", "calls", "uploads"] and set(led) == subsets.keys()
    for http in routes[1:-1]:
        for match in http["match"]:
            whole = match.get("headers") == {"x-body-hash": {}} or match.get("withoutHeaders") == {"content-length": {}, "transfer-encoding": {}}
            assert whole, f"{match}: its body may be on its way"
    for plugin in (each["spec"]["pluginConfig"] for each in dev.of("WasmPlugin") if namespace(each) == GATEWAY_NAMESPACE):
        assert plugin["pathPrefixes"] == ["/v1", "/openai"], "without a hash every call goes with the uploads"


def test_a_gateway_of_its_own_has_the_same_places_by_services(dev: Manifests, production: Manifests):
    """No HTTPRoute leads to a subset."""
    (route,) = (each["spec"] for each in production.of("HTTPRoute") if each["metadata"]["name"] == "embedding-gateway")
    led = [rule["backendRefs"][0]["name"].rpartition("-")[2] for rule in route["rules"]]
    subsets = {each["name"]: each["trafficPolicy"]["connectionPool"] for each in dev.get("DestinationRule", "embedding-gateway-varnish")["spec"]["subsets"]}
    assert led == ["probes", "embeddings", "calls", "uploads"]
    for name in led:
        policy = production.get("DestinationRule", f"embedding-gateway-varnish-{name}")["spec"]["trafficPolicy"]
        assert policy["connectionPool"] == subsets[name], name
        assert policy["loadBalancer"]["consistentHash"] == {"httpHeaderName": "x-body-hash"}
    whole = ({"name": "x-request-body", "value": "--"}, {"name": "x-body-hash", "type": "RegularExpression", "value": "[0-9a-f]{64}"})
    for match in (match for rule in route["rules"][:-1] for match in rule["matches"]):
        assert match["headers"][0] in whole, f"{match}: its body may be on its way"
    written = managers(production, OUR_NAMESPACE, ingress(production).labels)["early_header_mutation_extensions"][0]["typed_config"]["mutations"]
    assert {"key": "x-request-body", "value": "%REQ(CONTENT-LENGTH)%%REQ(TRANSFER-ENCODING)%"} in [each["append"]["header"] for each in written if "append" in each]


def test_a_gateway_of_its_own_has_the_laptops_limits(production: Manifests):
    manager = managers(production, OUR_NAMESPACE, ingress(production).labels)
    for limit in ("request_timeout", "request_headers_timeout", "stream_idle_timeout"):
        assert manager[limit] == LAPTOP[limit], limit
    assert manager["http_protocol_options"]["accept_http_10"] is True
    (buffer,) = [value["per_connection_buffer_limit_bytes"] for _, value in patched(production, "LISTENER")]
    assert min(buffer, manager["http2_protocol_options"]["initial_stream_window_size"]) >= 1024 * KIB


def test_a_gateway_of_its_own_bounds_the_bodies_that_it_holds_together(production: Manifests):
    assert_bodies_are_bound(production, "embedding-gateway-ingress")


def assert_bodies_are_bound(manifests: Manifests, merged: str) -> None:
    """By the laptop's overload manager, which tests/filter tries; pilot-agent merges the file into Envoy's configuration."""
    pods = yaml.safe_load(manifests.get("ConfigMap", merged)["data"]["deployment"])["spec"]["template"]["spec"]
    (container,), (volume,) = pods["containers"], pods["volumes"]
    (variable,), (mount,) = container["env"], container["volumeMounts"]
    folder, _, file = variable["value"].rpartition("/")
    assert (variable["name"], folder, volume["name"]) == ("ISTIO_BOOTSTRAP_OVERRIDE", mount["mountPath"], mount["name"])
    own = yaml.safe_load(manifests.get("ConfigMap", volume["configMap"]["name"])["data"][file])["overload_manager"]
    laptop = copy.deepcopy(WHOLE_LAPTOP["overload_manager"])
    # Istio's bootstrap has a bound of connections of its own.
    laptop["resource_monitors"] = [each for each in laptop["resource_monitors"] if "connections" not in each["name"]]
    heap = own["resource_monitors"][0]["typed_config"].pop("max_heap_size_bytes")
    laptop["resource_monitors"][0]["typed_config"].pop("max_heap_size_bytes")
    assert own == laptop
    assert heap <= 0.8 * workloads.in_bytes(container["resources"]["limits"]["memory"])


def test_varnish_has_a_thread_for_every_place(dev: Manifests):
    """Of each gateway's proxy: where several run, Varnish has as many pods or more."""
    threads = 2 * int(dict(re.findall(r"^-p (\w+)=(\w+)$", START_SH, re.MULTILINE))["thread_pool_max"])
    clusters = yaml.safe_load((ROOT / "envoy/gateway.yaml").read_text())["static_resources"]["clusters"]
    assert sum(each["circuit_breakers"]["thresholds"][0]["max_requests"] for each in clusters) <= threads
    subsets = dev.get("DestinationRule", "embedding-gateway-varnish")["spec"]["subsets"]
    assert sum(each["trafficPolicy"]["connectionPool"]["http"]["http2MaxRequests"] for each in subsets) <= threads


def test_the_gateway_refuses_to_purge(dev: Manifests):
    first = dev.get("VirtualService", "embedding-gateway")["spec"]["http"][0]
    assert first["match"] == [{"method": {"regex": "(?i)purge"}}]
    assert first["directResponse"]["status"] == 403


def test_a_held_body_fits_into_the_gateways_buffers(dev: Manifests):
    """A smaller buffer would hold a larger body until stallTimeout, and then let it go unhashed."""
    most = 1024 * KIB
    (buffer,) = [value["per_connection_buffer_limit_bytes"] for each, value in patched(dev, "LISTENER") if namespace(each) == GATEWAY_NAMESPACE]
    window = managers(dev, GATEWAY_NAMESPACE, GATEWAY_LABELS)["http2_protocol_options"]["initial_stream_window_size"]
    caps = {each["spec"]["pluginConfig"].get("maxBodyBytes", most) for each in dev.of("WasmPlugin")}
    assert max(caps) <= min(buffer, window)


def test_an_access_log_holds_the_path_and_no_query(dev: Manifests):
    logs = [log for _, value in patched(dev, "NETWORK_FILTER") for log in value["typed_config"].get("access_log", [])]
    for log in [*logs, *LAPTOP["access_log"]]:
        fields = log["typed_config"]["log_format"]["json_format"]
        assert fields["path"] == "%PATH(NQ:ORIG_OR_PATH)%"
        assert not any("REQ(:PATH" in value or "ORIGINAL-PATH" in value for value in fields.values())
    assert logs

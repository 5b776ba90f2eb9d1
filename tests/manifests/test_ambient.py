"""Ambient mode: what ztunnel cannot read stands on the waypoint, and nothing reaches Varnish past it."""

import pytest

from . import mesh, reach, references, render, schemas, upstreams, waves, workloads
from .objects import OUR_NAMESPACE, Manifests, Object, Pod, fits, ingress, name, namespace, selected_labels, targets, title
from .test_http import assert_bodies_are_bound

WAYPOINT = "embedding-gateway-waypoint"
WAYPOINT_LABELS = {"gateway.networking.k8s.io/gateway-name": WAYPOINT}
WAYPOINT_PRINCIPAL = f"cluster.local/ns/{OUR_NAMESPACE}/sa/{WAYPOINT}"
HBONE = 15008
# What an L4 proxy knows of a connection: https://istio.io/latest/docs/ambient/usage/l4-policy/
KNOWN_TO_ZTUNNEL = {"from": {"principals", "notPrincipals", "namespaces", "notNamespaces", "ipBlocks", "notIpBlocks"}, "to": {"ports", "notPorts"}}
CHECKS = (
    schemas.unknown_to_their_apis,
    mesh.hosts_of_nothing,
    mesh.plugins_that_differ,
    mesh.routes_that_repeat,
    reach.modules_out_of_reach,
    references.left_unset,
    references.names_of_nothing,
    references.services_without_pods,
    upstreams.named_by_variables_and_out_of_reach,
    upstreams.upstreams_out_of_reach,
    waves.names_what_comes_later,
    waves.starts_before_its_policy,
    workloads.unpinned,
    workloads.unrestricted,
)


@pytest.fixture(scope="module", params=render.AMBIENT, ids=lambda variant: variant.name)
def manifests(request, tmp_path_factory) -> Manifests:
    return render.dev(request.param, tmp_path_factory.mktemp("ambient"))


def of_the_waypoint(each: Object) -> bool:
    return [ref["name"] for ref in targets(each)] == [WAYPOINT]


def rules(policy: Object) -> list[Object]:
    return (policy.get("spec") or {}).get("rules", [])


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_ambient_has_no(manifests, check):
    assert check(manifests) == []


def test_the_namespace_has_ztunnel_and_no_sidecars(manifests):
    labels = manifests.get("Namespace", OUR_NAMESPACE)["metadata"]["labels"]
    assert labels["istio.io/dataplane-mode"] == "ambient" and "istio-injection" not in labels
    assert list(manifests.of("Sidecar")) == []


def test_the_waypoint_bounds_the_bodies_that_it_holds_together(manifests):
    assert_bodies_are_bound(manifests, WAYPOINT)


def test_what_ztunnel_is_given_it_can_read(manifests):
    """A rule with more allows nothing there."""
    for policy in (each for each in manifests.of("AuthorizationPolicy") if not targets(each) and namespace(each) == OUR_NAMESPACE):
        for rule in rules(policy):
            used = {("from", field) for each in rule.get("from", []) for field in each["source"]}
            used |= {("to", field) for each in rule.get("to", []) for field in each["operation"]}
            assert all(field in KNOWN_TO_ZTUNNEL[side] for side, field in used), title(policy)
            assert "when" not in rule


def test_nothing_waits_for_a_sidecar(manifests):
    """A filter or plugin that selects pods would act on none."""
    gateway = ingress(manifests)
    for each in manifests.of("EnvoyFilter", "WasmPlugin"):
        if namespace(each) == OUR_NAMESPACE and not targets(each):
            assert fits(gateway.labels, selected_labels(each)) and gateway.namespace == OUR_NAMESPACE, title(each)
    for plugin in ("body-hash-tap", "body-hash-gate"):
        assert of_the_waypoint(manifests.get("WasmPlugin", plugin))


def test_varnish_is_reached_by_the_waypoint_and_by_who_purges_alone(manifests):
    varnish = Pod(manifests.get("StatefulSet", "embedding-gateway-varnish"))
    allowed = [each for each in manifests.of("AuthorizationPolicy") if not targets(each) and rules(each) and fits(varnish.labels, selected_labels(each))]
    (policy,) = allowed
    (source,) = [each["source"] for rule in rules(policy) for each in rule["from"]]
    broadcaster = Pod(manifests.get("Deployment", "embedding-gateway-endpoint-broadcaster")).principal
    assert set(source["principals"]) == {WAYPOINT_PRINCIPAL, broadcaster}
    assert manifests.get("PeerAuthentication", "default")["spec"] == {"mtls": {"mode": "STRICT"}}


def test_who_asks_varnish_what_is_decided_on_the_waypoint(manifests, dev: Manifests):
    policy = manifests.get("AuthorizationPolicy", "varnish")
    assert of_the_waypoint(policy)
    asked = rules(policy)[0]["to"][0]["operation"]
    assert asked["notMethods"] == ["PURGE"]
    assert asked["paths"] == rules(dev.get("AuthorizationPolicy", "embedding-gateway"))[0]["to"][0]["operation"]["paths"]


def test_every_name_that_leads_to_varnish_leads_over_the_waypoint(manifests):
    """But for the headless one: its addresses are the pods' own, and only the endpoint-broadcaster asks there."""
    (waypoint,) = [each for each in manifests.of("Gateway") if name(each) == WAYPOINT]
    assert waypoint["metadata"]["labels"]["istio.io/waypoint-for"] == "service"
    for service in manifests.of("Service"):
        to_varnish = {pod.app for pod in manifests.pods(service["spec"]["selector"])} == {"embedding-gateway-varnish"}
        over = service["metadata"]["labels"].get("istio.io/use-waypoint"), service["metadata"]["labels"].get("istio.io/ingress-use-waypoint")
        balanced = service["spec"].get("clusterIP") != "None"
        assert over == ((WAYPOINT, "true") if to_varnish and balanced else (None, None)), title(service)


def test_the_waypoint_sends_one_body_to_one_varnish_and_repeats_nothing(manifests):
    """By the routes of each Service that the gateway calls: without any of its own a waypoint neither hashes nor stops repeating."""
    rules = {each["spec"]["host"]: each["spec"]["trafficPolicy"] for each in manifests.of("DestinationRule")}
    routes = {host: each["spec"]["http"] for each in manifests.of("VirtualService") if "gateways" not in each["spec"] for host in each["spec"]["hosts"]}
    ways = [destination["host"] for destination in _called_by_the_gateway(manifests)]
    assert ways
    for host in (each for each in ways if each.startswith("embedding-gateway-varnish")):
        assert rules[host]["loadBalancer"]["consistentHash"] == {"httpHeaderName": "x-body-hash"}
        assert [each["retries"] for each in routes[host]] == [{"attempts": 0}]


def _called_by_the_gateway(manifests: Manifests) -> list[Object]:
    called = [route["destination"] for each in manifests.of("VirtualService") if "gateways" in each["spec"] for http in each["spec"]["http"] for route in http.get("route", [])]
    return called + [{"host": ref["name"]} for each in manifests.of("HTTPRoute") for rule in each["spec"]["rules"] for ref in rule["backendRefs"]]


def _enters(policy: Object) -> list[Object]:
    return [rule for rule in policy["spec"].get("ingress", []) if any(port["port"] == HBONE for port in rule.get("ports", []))]


def test_the_tunnel_is_let_in_from_whom_the_port_was(manifests):
    for policy in manifests.of("NetworkPolicy"):
        for rule in policy["spec"].get("ingress", []):
            named = {port["port"] for port in rule.get("ports", [])}
            if named & {"http", "http-s3"} and name(policy) not in ("monitoring", "embedding-gateway-ingress"):
                assert HBONE in named, title(policy)
    into = {name(each): _enters(each) for each in manifests.of("NetworkPolicy") if _enters(each)}
    assert {"podSelector": {"matchLabels": WAYPOINT_LABELS}} in into["embedding-gateway-varnish"][0]["from"]
    (rule,) = into[WAYPOINT]
    assert rule["from"] == [into["embedding-gateway-endpoint-broadcaster"][0]["from"][0]], "the ingress gateway, as elsewhere"


def test_kubelets_probes_come_in(manifests):
    policy = manifests.get("NetworkPolicy", "ambient")["spec"]
    assert policy["podSelector"] == {} and {"from": [{"ipBlock": {"cidr": "169.254.7.127/32"}}]} in policy["ingress"]


def test_what_the_waypoint_is_told_of_http_is_not_told_to_the_tunnel(manifests):
    for each in (each for each in manifests.of("EnvoyFilter") if of_the_waypoint(each)):
        for patch in each["spec"]["configPatches"]:
            assert patch["match"]["listener"]["name"] == "main_internal", title(each)


def test_the_waypoint_survives_a_drain(manifests):
    merged = manifests.get("ConfigMap", WAYPOINT)["data"]
    assert "minReplicas: 2" in merged["horizontalPodAutoscaler"] and "maxUnavailable: 1" in merged["podDisruptionBudget"]

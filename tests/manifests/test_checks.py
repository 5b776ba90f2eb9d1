"""The checks themselves: each finds the breakage that it is there for, and nothing else does it in its place."""

import copy
from collections.abc import Callable

import pytest

from . import mesh, pins, reach, references, schemas, upstreams, waves, workloads
from .objects import Manifests, Object

Breakage = Callable[[Manifests], None]


def _spec(manifests: Manifests, kind: str, name: str) -> Object:
    return manifests.get(kind, name)["spec"]


def _container(manifests: Manifests, kind: str, name: str) -> Object:
    return _spec(manifests, kind, name)["template"]["spec"]["containers"][0]


def _drop(manifests: Manifests, kind: str, name: str) -> None:
    manifests.objects.remove(manifests.get(kind, name))


def _wave(manifests: Manifests, kind: str, name: str, number: int) -> None:
    manifests.get(kind, name)["metadata"].setdefault("annotations", {})["argocd.argoproj.io/sync-wave"] = str(number)


def _rule(manifests: Manifests, policy: str, number: int = 0) -> Object:
    return _spec(manifests, "AuthorizationPolicy", policy)["rules"][number]


VARNISH, BACKEND, BROADCASTER = "embedding-gateway-varnish", "embedding-gateway", "embedding-gateway-endpoint-broadcaster"

# (what is broken, the check that must say so, how)
BREAKAGES: list[tuple[str, Callable, Breakage]] = [
    ("a field of Kubernetes that does not exist", schemas.unknown_to_their_apis, lambda m: _spec(m, "Service", BACKEND).update(selectors={})),
    ("a field of Istio that does not exist", schemas.unknown_to_their_apis, lambda m: _spec(m, "WasmPlugin", "body-hash-tap").update(fail="x")),
    ("a nested field of Istio of a wrong type", schemas.unknown_to_their_apis, lambda m: _spec(m, "Gateway", BACKEND)["servers"][0]["port"].update(number="80a")),
    ("a kind that no API knows", schemas.unknown_to_their_apis, lambda m: m.get("Gateway", BACKEND).update(kind="Gatway")),
    ("a tag that moves", workloads.unpinned, lambda m: _container(m, "StatefulSet", VARNISH).update(image="docker.io/library/varnish:latest")),
    ("no tag", workloads.unpinned, lambda m: _container(m, "Deployment", BACKEND).update(image="registry.example.com:5000/embedding-gateway")),
    ("a filter without a tag", workloads.unpinned, lambda m: _spec(m, "WasmPlugin", "body-hash-tap").update(url="oci://registry.example.com/body-hash-filter")),
    ("an image that no volume has refused", pins.starts_unpinned, lambda m: _spec(m, "Deployment", BACKEND)["template"]["spec"]["volumes"].pop(0)),
    ("a pin of another image", pins.starts_unpinned, lambda m: _spec(m, "Deployment", BACKEND)["template"]["spec"]["volumes"][0]["downwardAPI"]["items"][0].update(path="a/../b")),
    ("a writable root", workloads.unrestricted, lambda m: _container(m, "Job", "minio-bucket")["securityContext"].pop("readOnlyRootFilesystem")),
    ("a capability", workloads.unrestricted, lambda m: _container(m, "StatefulSet", VARNISH)["securityContext"]["capabilities"].update(add=["NET_ADMIN"])),
    ("root", workloads.unrestricted, lambda m: _spec(m, "StatefulSet", "minio")["template"]["spec"]["securityContext"].update(runAsUser=0)),
    ("a folder of the node", workloads.unrestricted, lambda m: _spec(m, "StatefulSet", VARNISH)["template"]["spec"]["volumes"].append({"name": "x", "hostPath": {"path": "/"}})),
    ("a mounted token", workloads.unrestricted, lambda m: _spec(m, "Deployment", BACKEND)["template"]["spec"].update(automountServiceAccountToken=True)),
    ("a renamed port", references.services_without_pods, lambda m: _container(m, "Deployment", BACKEND)["ports"][0].update(name="web")),
    ("a port that a probe does not find", references.probes_of_no_port, lambda m: _container(m, "Deployment", BACKEND)["livenessProbe"]["httpGet"].update(port="web")),
    ("a Service for no pod", references.services_without_pods, lambda m: _spec(m, "Service", VARNISH).update(selector={"app": "varnish"})),
    ("a missing key of a Secret", references.names_of_nothing, lambda m: m.get("Secret", "minio-secret")["data"].pop("secret-key")),
    ("a missing ConfigMap", references.names_of_nothing, lambda m: m.objects.remove(next(c for c in m.of("ConfigMap") if "default.vcl" in c["data"]))),
    ("a missing ServiceAccount", references.names_of_nothing, lambda m: _drop(m, "ServiceAccount", "minio-bucket")),
    ("a key in the open", references.secrets_by_value, lambda m: _container(m, "Deployment", BACKEND)["env"].append({"name": "OPENAI_API_KEY", "value": "sk-1"})),
    ("a principal that no pod has", references.policies_of_nobody, lambda m: _rule(m, BACKEND)["from"][0]["source"].update(principals=["cluster.local/ns/embedding-gateway/sa/varnish"])),
    ("a gateway of another name", references.policies_of_nobody, lambda m: _rule(m, "varnish")["from"][0]["source"].update(principals=["cluster.local/ns/istio-ingress/sa/istio-ingress"])),
    ("a policy for no pod", references.selectors_of_nothing, lambda m: _spec(m, "AuthorizationPolicy", "varnish").update(selector={"matchLabels": {"app": "varnish"}})),
    ("a route to a host that is not there", mesh.hosts_of_nothing, lambda m: _spec(m, "VirtualService", BACKEND)["http"][1]["route"][0]["destination"].update(host="varnish")),
    ("a route to a port that is not there", mesh.hosts_of_nothing, lambda m: _spec(m, "VirtualService", BACKEND)["http"][1]["route"][0]["destination"]["port"].update(number=80)),
    ("a route to a subset that is not there", mesh.hosts_of_nothing, lambda m: _spec(m, "DestinationRule", VARNISH)["subsets"].pop()),
    ("a rule for a host that is not there", mesh.hosts_of_nothing, lambda m: _spec(m, "DestinationRule", VARNISH).update(host="varnish")),
    ("a Sidecar that names nothing", mesh.hosts_of_nothing, lambda m: _spec(m, "Sidecar", BACKEND)["egress"][0].update(hosts=["./api.openai.org"])),
    ("a host that nothing sets", references.left_unset, lambda m: _spec(m, "VirtualService", BACKEND).update(hosts=["set-by-replacement"])),
    ("a host that its Gateway does not serve", mesh.hosts_of_nothing, lambda m: _spec(m, "VirtualService", BACKEND).update(hosts=["example.com"])),
    ("a route that repeats", mesh.routes_that_repeat, lambda m: _spec(m, "VirtualService", "minio")["http"][0].pop("retries")),
    ("a Service with Istio's own retries", mesh.services_that_are_asked_twice, lambda m: _drop(m, "VirtualService", "embedding-gateway-backend")),
    ("a filter of two versions", mesh.plugins_that_differ, lambda m: _spec(m, "WasmPlugin", "body-hash-gate").update(url="oci://r/body-hash-filter:0.2.0")),
    ("a gate before its tap", mesh.plugins_that_differ, lambda m: _spec(m, "WasmPlugin", "body-hash-gate").update(priority=30)),
    ("a filter beside the pair", mesh.filters_side_by_side, lambda m: m.objects.append({"kind": "EnvoyFilter", "metadata": {"name": "body-hash-native"}})),
    ("a tap without a gate", mesh.plugins_that_differ, lambda m: _drop(m, "WasmPlugin", "body-hash-gate")),
    ("an authority that fails open", mesh.plugins_that_differ, lambda m: _spec(m, "WasmPlugin", "body-hash-tap").update(failStrategy="FAIL_OPEN")),
    ("a hint that refuses all", mesh.plugins_that_differ, lambda m: _spec(m, "WasmPlugin", "embedding-gateway-body-hash-tap").update(failStrategy="FAIL_RELOAD")),
    ("PURGE for the gateway", reach.wrong_paths, lambda m: _rule(m, "varnish").pop("to")),
    ("no PURGE for the broadcaster", reach.wrong_paths, lambda m: _rule(m, BACKEND, 1)["to"][0]["operation"].update(methods=["POST"])),
    ("metrics for all of Varnish's callers", reach.wrong_paths, lambda m: _rule(m, BACKEND)["to"][0]["operation"]["paths"].append("/metrics")),
    ("a Sidecar that forgets the S3 server", reach.wrong_paths, lambda m: _spec(m, "Sidecar", BACKEND)["egress"][0]["hosts"].remove("./minio.embedding-gateway.svc.cluster.local")),
    ("a network that shuts out the broadcaster", reach.wrong_paths, lambda m: _spec(m, "NetworkPolicy", VARNISH)["ingress"][0]["from"].pop()),
    ("a network that keeps Varnish in", reach.wrong_paths, lambda m: _spec(m, "NetworkPolicy", VARNISH).update(egress=[])),
    ("a network rule for a port of no name", reach.wrong_paths, lambda m: _spec(m, "NetworkPolicy", "minio")["ingress"][0]["ports"][0].update(port="s3")),
    ("a policy less, with the default deny gone too", reach.wrong_paths, lambda m: [_drop(m, "AuthorizationPolicy", each) for each in ("default-deny", "minio")]),
    ("no default deny", reach.unguarded, lambda m: _spec(m, "AuthorizationPolicy", "default-deny").update(rules=[{}])),
    ("permissive mTLS", reach.unguarded, lambda m: _spec(m, "PeerAuthentication", "default").update(mtls={"mode": "PERMISSIVE"})),
    ("egress to anywhere", reach.unguarded, lambda m: _spec(m, "Sidecar", BACKEND).update(outboundTrafficPolicy={"mode": "ALLOW_ANY"})),
    ("a rule for every caller", reach.unguarded, lambda m: _rule(m, "endpoint-broadcaster").pop("from")),
    ("a registry of another port", reach.modules_out_of_reach, lambda m: _spec(m, "NetworkPolicy", "body-hash-registry")["egress"][0]["ports"].pop()),
    ("a way to the metadata server", reach.internal_addresses_are_shut_out, lambda m: next(r["to"][0]["ipBlock"] for r in _spec(m, "NetworkPolicy", BACKEND)["egress"] if "ipBlock" in r["to"][0]).update({"except": []})),
    ("Varnish before the name that it needs", waves.names_what_comes_later, lambda m: _wave(m, "Service", "embedding-gateway-backend", 0)),
    ("a policy that names a later account", waves.names_what_comes_later, lambda m: _wave(m, "ServiceAccount", BACKEND, 0)),
    ("a policy that comes late", waves.starts_before_its_policy, lambda m: _wave(m, "AuthorizationPolicy", "varnish", 0)),
    ("a default deny that comes late", waves.starts_before_its_policy, lambda m: _wave(m, "NetworkPolicy", "default-deny", -2)),
    ("the Job in the wrong wave", waves.in_the_wrong_wave, lambda m: _wave(m, "Job", "minio-bucket", -3)),
    ("too little time to drain", workloads.ends_too_early, lambda m: _spec(m, "Deployment", BACKEND)["template"]["spec"].update(terminationGracePeriodSeconds=30)),
    ("no preStop", workloads.ends_too_early, lambda m: _container(m, "StatefulSet", VARNISH).pop("lifecycle")),
    ("a proxy that leaves first", workloads.proxies_that_leave_first, lambda m: _spec(m, "Deployment", BACKEND)["template"]["metadata"].update(annotations={})),
    ("a label less", workloads.unlabelled, lambda m: _spec(m, "Deployment", BACKEND)["template"]["metadata"]["labels"].pop("app.kubernetes.io/name")),
    ("a limit without room", workloads.varnish_without_room, lambda m: _container(m, "StatefulSet", VARNISH)["resources"]["limits"].update(memory="512Mi")),
    ("an object that is too large to apply", workloads.too_large_to_apply, lambda m: next(m.of("ConfigMap"))["data"].update(large="x" * 300_000)),
    ("a container without a limit", workloads.without_resources, lambda m: _container(m, "Job", "minio-bucket").pop("resources")),
]  # fmt: skip


@pytest.mark.parametrize(("check", "breakage"), [each[1:] for each in BREAKAGES], ids=[each[0] for each in BREAKAGES])
def test_a_check_finds(dev: Manifests, check, breakage: Breakage):
    broken = copy.deepcopy(dev)
    assert check(broken) == []
    breakage(broken)
    assert broken != dev, "nothing was broken"
    assert check(broken) != []


_GATEWAY = "embedding-gateway-ingress"
OWN_GATEWAY: list[tuple[str, Callable, Breakage]] = [
    ("a field of Gateway API that does not exist", schemas.unknown_to_their_apis, lambda m: _spec(m, "HTTPRoute", BACKEND).update(hosts=[])),
    ("a route to a Service that is not there", mesh.hosts_of_nothing, lambda m: _spec(m, "HTTPRoute", BACKEND)["rules"][0]["backendRefs"][0].update(name="varnish")),
    ("a host that its listener does not serve", mesh.hosts_of_nothing, lambda m: _spec(m, "Gateway", BACKEND)["listeners"][0].update(hostname="example.com")),
    ("a hint that refuses all", mesh.plugins_that_differ, lambda m: _spec(m, "WasmPlugin", f"{_GATEWAY}-tap").update(failStrategy="FAIL_RELOAD")),
    ("a policy for a Gateway of another name", references.selectors_of_nothing, lambda m: _spec(m, "AuthorizationPolicy", _GATEWAY)["targetRefs"][0].update(name="edge")),
    ("an account that istiod does not make", references.policies_of_nobody, lambda m: _rule(m, "varnish")["from"][0]["source"].update(principals=["cluster.local/ns/embedding-gateway/sa/edge"])),
    ("a gateway that fetches no module", reach.modules_out_of_reach, lambda m: _spec(m, "NetworkPolicy", _GATEWAY)["egress"].pop()),
    ("a gateway whose pods are kept in", reach.wrong_paths, lambda m: _spec(m, "NetworkPolicy", _GATEWAY).update(egress=[])),
    ("a collector that is not in the Sidecar", upstreams.named_by_variables_and_out_of_reach, lambda m: _spec(m, "Sidecar", BACKEND)["egress"][0]["hosts"].pop()),
    ("a collector in another namespace", upstreams.named_by_variables_and_out_of_reach, lambda m: _spec(m, "NetworkPolicy", "tracing")["egress"][0].update(to=[])),
    ("a bucket in another region", upstreams.named_by_variables_and_out_of_reach, lambda m: _spec(m, "ServiceEntry", "s3").update(hosts=["s3.eu-central-1.amazonaws.com"])),
    ("a bucket that is not in the Sidecar", upstreams.named_by_variables_and_out_of_reach, lambda m: _spec(m, "Sidecar", BACKEND)["egress"][0]["hosts"].remove("./*.amazonaws.com")),
    ("a Varnish that lets the gateway's pods not in", reach.wrong_paths, lambda m: _spec(m, "NetworkPolicy", VARNISH)["ingress"][0]["from"].pop(0)),
]  # fmt: skip


@pytest.mark.parametrize(("check", "breakage"), [each[1:] for each in OWN_GATEWAY], ids=[each[0] for each in OWN_GATEWAY])
def test_a_check_finds_in_production(production: Manifests, check, breakage: Breakage):
    broken = copy.deepcopy(production)
    assert check(broken) == []
    breakage(broken)
    assert check(broken) != []

"""Whether the sync waves of Argo CD can be applied one after the other, each to its end."""

from collections.abc import Iterator

from .objects import WORKLOADS, Manifests, Object, Pod, fits, name, namespace, selected_labels, targets, title, wave
from .references import named_objects

# What each wave is for; everything else is in wave 0.
NAMESPACE, BACKEND_SERVICE, COMPONENTS, JOB, REST = -4, -3, -2, -1, 0


def _mentioned(manifests: Manifests, each: Object) -> Iterator[Object | None]:
    """The objects that one names."""
    for kind, wanted, _, _ in named_objects(manifests, each):
        yield manifests.get(kind, wanted, namespace(each))
    spec = each.get("spec") or {}
    if each["kind"] == "DestinationRule":
        yield manifests.service_of(spec["host"])
    if each["kind"] == "VirtualService":
        yield from (manifests.get("Gateway", gateway) for gateway in spec.get("gateways", []))
        yield from (manifests.service_of(route["destination"]["host"]) for http in spec["http"] for route in http.get("route", []))
    if each["kind"] == "Sidecar":
        for host in (entry.partition("/")[2] for egress in spec["egress"] for entry in egress["hosts"]):
            yield manifests.service_of(host)
            yield from (entry for entry in manifests.of("ServiceEntry") if host in entry["spec"]["hosts"])
    if each["kind"] == "AuthorizationPolicy":
        yield from _accounts(manifests, spec)
    if each["kind"] in WORKLOADS and Pod(each).app == "embedding-gateway-varnish":
        # Its VCL is refused while the backend's name means nothing.
        yield manifests.get("Service", "embedding-gateway-backend")


def _accounts(manifests: Manifests, spec: Object) -> Iterator[Object | None]:
    for source in (source["source"] for rule in spec.get("rules", []) for source in rule.get("from", [])):
        for principal in source.get("principals", []):
            _, _, space, _, account = principal.split("/")
            yield manifests.get("ServiceAccount", account, space)


def names_what_comes_later(manifests: Manifests) -> list[str]:
    problems = []
    for each in manifests.objects:
        for other in _mentioned(manifests, each):
            if other is not None and wave(other) > wave(each):
                problems.append(f"{title(each)} ({wave(each)}) names {title(other)} ({wave(other)})")
    return problems


def starts_before_its_policy(manifests: Manifests) -> list[str]:
    problems = []
    workloads = list(manifests.of(*WORKLOADS))
    for policy in manifests.of("AuthorizationPolicy", "NetworkPolicy", "PeerAuthentication"):
        if namespace(policy) != namespace(workloads[0]) or targets(policy):
            continue
        for workload in workloads:
            everywhere = not selected_labels(policy) and name(policy) != "monitoring"
            late = wave(policy) > wave(workload) or (everywhere and wave(policy) == wave(workload))
            if late and name(policy) != "monitoring" and fits(Pod(workload).labels, selected_labels(policy)):
                problems.append(f"{title(workload)} ({wave(workload)}) starts before {title(policy)} ({wave(policy)})")
    return problems


def in_the_wrong_wave(manifests: Manifests) -> list[str]:
    """As the table says."""
    expected = {
        NAMESPACE: {"Namespace embedding-gateway", "AuthorizationPolicy default-deny", "NetworkPolicy default-deny"},
        BACKEND_SERVICE: {"Service embedding-gateway-backend"},
        COMPONENTS: {"StatefulSet embedding-gateway-varnish", "Deployment embedding-gateway-endpoint-broadcaster", "WasmPlugin body-hash-tap"},
        JOB: {"Job minio-bucket"} | {title(each) for each in manifests.of("Sidecar")},
        REST: {"Deployment embedding-gateway", "Service embedding-gateway", "Gateway embedding-gateway"},
    }
    found = {title(each): wave(each) for each in manifests.objects}
    wanted = {who: number for number, names in expected.items() for who in names}
    return [f"{who}: {found[who]}, not {number}" for who, number in wanted.items() if who in found and found[who] != number]

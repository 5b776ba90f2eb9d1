"""Whether each caller that must reach a target can, by every rule on the way, and no other can."""

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass

from .objects import GATEWAY_NAME_LABEL, OUR_NAMESPACE, Manifests, Object, Pod
from .objects import fits, ingress, namespace, plugins, selected_labels, targets, title


@dataclass(frozen=True)
class Caller:
    """A sender of requests; `pod` if it is one of the overlay's."""

    labels: tuple[tuple[str, str], ...]
    namespace: str
    principal: str
    pod: Pod | None = None


def _outsider(space: str) -> Caller:
    return Caller((), space, f"cluster.local/ns/{space}/sa/default")


MONITORING, CLIENTS, STRANGER = _outsider("monitoring"), _outsider("clients"), _outsider("default")


def _gateway(manifests: Manifests) -> Caller:
    of = ingress(manifests)
    return Caller(tuple(of.labels.items()), of.namespace, of.principal)


def _caller(pod: Pod) -> Caller:
    return Caller(tuple(sorted(pod.labels.items())), OUR_NAMESPACE, pod.principal, pod)


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    port: int


_REQUESTS = (("POST", "/v1/embeddings"), ("GET", "/v1/embeddings"), ("GET", "/healthz"), ("GET", "/metrics"), ("PURGE", "/v1/embeddings"))
_ALL = set(_REQUESTS)
_PURGE = {("PURGE", "/v1/embeddings")}
_METRICS = {("GET", "/metrics")}
_VARNISH, _BROADCASTER, _BACKEND = "embedding-gateway-varnish", "embedding-gateway-endpoint-broadcaster", "embedding-gateway"
_S3_SERVER = "S3 server"
# Which caller may ask what of which target. A caller that is not here may ask nothing. (The gateway's own routes leave less.)
ALLOWED = {
    ("gateway", _VARNISH): _ALL - _PURGE,
    ("gateway", _BROADCASTER): _PURGE,
    (_VARNISH, _BACKEND): _ALL - _PURGE - _METRICS,
    (_BROADCASTER, _BACKEND): _PURGE,
    (_BROADCASTER, _VARNISH): _PURGE,
    (_BACKEND, _S3_SERVER): _ALL,
    ("minio-bucket", _S3_SERVER): _ALL,
    ("monitoring", _BACKEND): _METRICS,
    ("clients", _VARNISH): _ALL - _PURGE - _METRICS,
}


def _one_of(patterns: list[str], value: str) -> bool:
    """A list of Istio's: exact, or with a star at one end."""
    return any(
        value == pattern or (pattern.endswith("*") and value.startswith(pattern[:-1])) or (pattern.startswith("*") and value.endswith(pattern[1:]))
        for pattern in patterns
    )


def _source_fits(source: Object, caller: Caller) -> bool:
    principals, spaces = source.get("principals"), source.get("namespaces")
    return (principals is None or _one_of(principals, caller.principal)) and (spaces is None or _one_of(spaces, caller.namespace))


def _operation_fits(operation: Object, request: Request) -> bool:
    checks = {"methods": request.method, "paths": request.path, "ports": str(request.port)}
    known = {f"not{key.capitalize()}" for key in checks} | checks.keys()
    assert operation.keys() <= known, f"teach this test {operation.keys() - known}"
    yes = all(_one_of(operation[key], value) for key, value in checks.items() if key in operation)
    return yes and not any(_one_of(operation.get(f"not{key.capitalize()}", []), value) for key, value in checks.items())


def authorized(manifests: Manifests, caller: Caller, target: Pod, request: Request) -> bool:
    """As Istio decides: with any ALLOW policy, only what one of their rules fits."""
    policies = [each for each in manifests.of("AuthorizationPolicy") if namespace(each) == OUR_NAMESPACE and not targets(each)]
    policies = [each for each in policies if fits(target.labels, selected_labels(each))]
    for rule in (rule for each in policies for rule in (each.get("spec") or {}).get("rules", [])):
        sources = rule.get("from", [{"source": {}}])
        operations = rule.get("to", [{"operation": {}}])
        if any(_source_fits(each["source"], caller) for each in sources) and any(_operation_fits(each["operation"], request) for each in operations):
            return True
    return not policies


def _peer_fits(peer: Object, other: Caller, policy: Object) -> bool:
    if "ipBlock" in peer:
        return False
    space = peer.get("namespaceSelector")
    if space is None:
        same = other.namespace == (namespace(policy) or OUR_NAMESPACE)
    else:
        wanted = dict(space.get("matchLabels", {}))
        for expression in space.get("matchExpressions", []):
            wanted[expression["key"]] = other.namespace if other.namespace in expression["values"] else ""
        same = fits({"kubernetes.io/metadata.name": other.namespace}, wanted)
    return same and fits(dict(other.labels), peer.get("podSelector", {}).get("matchLabels"))


def _network_allows(manifests: Manifests, direction: str, of: Caller, other: Caller, pod: Pod, port: int) -> bool:
    policies = [each for each in manifests.of("NetworkPolicy") if fits(dict(of.labels), selected_labels(each))]
    policies = [each for each in policies if direction in each["spec"]["policyTypes"]]
    side, peers = (("ingress", "from") if direction == "Ingress" else ("egress", "to"))
    for rule, policy in ((rule, each) for each in policies for rule in each["spec"].get(side, [])):
        ports = rule.get("ports")
        right_port = ports is None or any(pod.port(each["port"]) == port for each in ports)
        if right_port and (peers not in rule or any(_peer_fits(peer, other, policy) for peer in rule[peers])):
            return True
    return not policies


def _named_in_sidecar(manifests: Manifests, caller: Caller, target: Pod) -> bool:
    if caller.pod is None:
        return True
    own = [each for each in manifests.of("Sidecar") if selected_labels(each) and fits(dict(caller.labels), selected_labels(each))]
    hosts = [entry.partition("/")[2] for each in own for egress in each["spec"]["egress"] for entry in egress["hosts"]]
    services = [manifests.service_of(host) for host in hosts if host != "*"]
    return any(service and fits(target.labels, service["spec"]["selector"]) for service in services)


def _obstacles(manifests: Manifests, caller: Caller, target: Pod, request: Request) -> Iterator[str]:
    if not authorized(manifests, caller, target, request):
        yield "AuthorizationPolicy"
    if not _network_allows(manifests, "Ingress", _caller(target), caller, target, request.port):
        yield "NetworkPolicy of the one who is called"
    # What leaves another namespace, its own policies decide.
    if caller.namespace == OUR_NAMESPACE and not _network_allows(manifests, "Egress", caller, _caller(target), target, request.port):
        yield "NetworkPolicy of the caller"
    if not _named_in_sidecar(manifests, caller, target):
        yield "Sidecar of the caller"


def _role(pod: Pod) -> str:
    """The S3 server is what it is, whichever component brings it."""
    return _S3_SERVER if pod.labels.get("app.kubernetes.io/component") == "object-store" else pod.app


def wrong_paths(manifests: Manifests) -> list[str]:
    """Every caller, every target, every kind of request: served or refused, as the table says."""
    callers = {_role(pod): _caller(pod) for pod in manifests.pods()} | {"gateway": _gateway(manifests), "monitoring": MONITORING, "stranger": STRANGER}
    if manifests.get("AuthorizationPolicy", "varnish-in-mesh-clients"):
        callers["clients"] = CLIENTS
    # Prometheus is let in by the component that brings it.
    by_network = callers.keys() - {"monitoring"}
    problems = []
    for who, caller in callers.items():
        for target in (pod for pod in manifests.pods() if pod.ports):
            for method, path in _REQUESTS:
                asked = f"{who} -> {_role(target)}: {method} {path}"
                request = Request(method, path, next(iter(target.ports.values())))
                obstacles = list(_obstacles(manifests, caller, target, request))
                if (method, path) not in ALLOWED.get((who, _role(target)), set()):
                    problems += [] if "AuthorizationPolicy" in obstacles else [f"{asked}: is let through"]
                else:
                    problems += [f"{asked}: {each}" for each in obstacles if who in by_network or each == "AuthorizationPolicy"]
    return problems


def unguarded(manifests: Manifests) -> list[str]:
    """What must hold for the namespace as a whole."""
    problems = []
    spec = (manifests.get("AuthorizationPolicy", "default-deny") or {"spec": None}).get("spec")
    if spec != {}:
        problems.append("AuthorizationPolicy: nothing denies what no rule allows")
    deny = (manifests.get("NetworkPolicy", "default-deny") or {"spec": None})["spec"]
    if deny != {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}:
        problems.append("NetworkPolicy: nothing denies what no rule allows")
    mtls = (manifests.get("PeerAuthentication", "default") or {"spec": {}})["spec"]
    if mtls != {"mtls": {"mode": "STRICT"}}:
        problems.append("PeerAuthentication: mTLS is not STRICT")
    for sidecar in manifests.of("Sidecar"):
        if sidecar["spec"].get("outboundTrafficPolicy") != {"mode": "REGISTRY_ONLY"}:
            problems.append(f"{title(sidecar)}: lets out what it does not name")
    for policy in (each for each in manifests.of("AuthorizationPolicy") if not targets(each)):
        for rule in (policy.get("spec") or {}).get("rules", []):
            if policy["spec"].get("action") == "ALLOW" and not rule.get("from"):
                problems.append(f"{title(policy)}: a rule for every caller")
    return problems


def internal_addresses_are_shut_out(manifests: Manifests) -> list[str]:
    """The way to the internet is no way to the cluster or to the node's metadata server."""
    inside = [ipaddress.ip_network(each) for each in ("10.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16")]
    problems = []
    for policy in manifests.of("NetworkPolicy"):
        for rule in policy["spec"].get("egress", []):
            for block in (peer["ipBlock"] for peer in rule.get("to", []) if "ipBlock" in peer):
                closed = [ipaddress.ip_network(each) for each in block.get("except", [])]
                # A named range is one that the operator let out; the internet is everything but what is inside.
                if block["cidr"] == "0.0.0.0/0" and not all(any(net.subnet_of(each) for each in closed) for net in inside):
                    problems.append(f"{title(policy)}: {block['cidr']} reaches inside")
    return problems


# HTTPS, and what a registry inside a cluster usually has: minikube's addon speaks plain HTTP there.
_REGISTRY_PORTS = {443, 5000}


def _fetching(manifests: Manifests) -> Iterator[tuple[str, Object]]:
    """(who, labels) of every proxy in the namespace that fetches the filter's module from within its pod."""
    for each, spec in plugins(manifests):
        if namespace(each) == OUR_NAMESPACE and not spec["url"].startswith("file:"):
            yield title(each), {GATEWAY_NAME_LABEL: targets(each)[0]["name"]} if targets(each) else selected_labels(each)
    for each in manifests.of("EnvoyFilter"):
        if namespace(each) == OUR_NAMESPACE and "'uri': 'unset:" in str(each):
            yield title(each), selected_labels(each)


def modules_out_of_reach(manifests: Manifests) -> list[str]:
    """A proxy that cannot fetch its module refuses everything, or hints at nothing. Where the registry is, no manifest knows."""
    problems = []
    for who, labels in _fetching(manifests):
        policies = [each for each in manifests.of("NetworkPolicy") if selected_labels(each) and fits(labels, selected_labels(each))]
        rules = [rule for each in policies for rule in each["spec"].get("egress", []) if "to" not in rule]
        closed = _REGISTRY_PORTS - {port["port"] for rule in rules for port in rule["ports"]}
        problems += [f"{who}: its proxies are not let out to port {port}" for port in sorted(closed)]
    return problems

"""Whether the mesh's hosts, routes and gateways mean something, and nothing is asked twice."""

from collections.abc import Iterator

from .objects import GATEWAY_API, OUR_NAMESPACE, WAYPOINT_CLASS, Manifests, Object, namespace, plugins, targets, title


def _ports(service: Object) -> set[int]:
    return {port["port"] for port in service["spec"]["ports"]}


def _is_known(manifests: Manifests, host: str) -> bool:
    external = manifests.external_hosts()
    return manifests.service_of(host) is not None or (any(each.endswith(host[1:]) for each in external) if host.startswith("*.") else host in external)


def hosts_of_nothing(manifests: Manifests) -> list[str]:
    problems = []
    for rule in manifests.of("DestinationRule"):
        if not _is_known(manifests, rule["spec"]["host"]):
            problems.append(f"{title(rule)}: nothing is called {rule['spec']['host']}")
    for sidecar in manifests.of("Sidecar"):
        for egress in sidecar["spec"].get("egress", []):
            # Another namespace's is not ours to know.
            hosts = (entry.partition("/")[2] for entry in egress["hosts"] if entry.startswith("./"))
            problems += [f"{title(sidecar)}: nothing is called {host}" for host in hosts if not _is_known(manifests, host)]
    for service in manifests.of("VirtualService"):
        problems += _routes_to_nothing(manifests, service) + _hosts_that_no_gateway_has(manifests, service)
    for route in manifests.of("HTTPRoute"):
        problems += _backends_of_nothing(manifests, route) + _hosts_that_no_listener_has(manifests, route)
    return problems


def _backends_of_nothing(manifests: Manifests, route: Object) -> list[str]:
    problems = []
    for backend in (each for rule in route["spec"]["rules"] for each in rule["backendRefs"]):
        service = manifests.service_of(backend["name"])
        if service is None or backend["port"] not in _ports(service):
            problems.append(f"{title(route)}: nothing is called {backend['name']}:{backend['port']}")
    return problems


def _hosts_that_no_listener_has(manifests: Manifests, route: Object) -> list[str]:
    problems = []
    for parent in route["spec"]["parentRefs"]:
        gateways = (each for each in manifests.of("Gateway") if each["apiVersion"].startswith(GATEWAY_API) and each["metadata"]["name"] == parent["name"])
        served = {each["hostname"] for gateway in gateways for each in gateway["spec"]["listeners"] if each["name"] == parent["sectionName"]}
        problems += [f"{title(route)}: {parent['sectionName']} does not serve {host}" for host in route["spec"]["hostnames"] if host not in served]
    return problems


def _routes(service: Object) -> Iterator[Object]:
    yield from service["spec"]["http"]


def _routes_to_nothing(manifests: Manifests, service: Object) -> list[str]:
    problems = []
    for destination in (route["destination"] for http in _routes(service) for route in http.get("route", [])):
        target = manifests.service_of(destination["host"])
        if target is None:
            problems.append(f"{title(service)}: nothing is called {destination['host']}")
        elif destination["port"]["number"] not in _ports(target):
            problems.append(f"{title(service)}: {destination['host']} has no port {destination['port']['number']}")
        if destination.get("subset") not in _subsets(manifests, destination["host"]):
            problems.append(f"{title(service)}: {destination['host']} has no subset {destination['subset']}")
    return problems


def _subsets(manifests: Manifests, host: str) -> set[str | None]:
    rules = (each["spec"] for each in manifests.of("DestinationRule"))
    return {None} | {subset["name"] for rule in rules if rule["host"] == host for subset in rule.get("subsets", [])}


def _hosts_that_no_gateway_has(manifests: Manifests, service: Object) -> list[str]:
    gateways = service["spec"].get("gateways", ["mesh"])
    if gateways == ["mesh"]:
        return [f"{title(service)}: nothing is called {host}" for host in service["spec"]["hosts"] if not manifests.service_of(host)]
    problems = []
    for gateway in gateways:
        found = manifests.get("Gateway", gateway)
        served = {host for server in found["spec"]["servers"] for host in server["hosts"]} if found else set()
        problems += [f"{title(service)}: {gateway} does not serve {host}" for host in service["spec"]["hosts"] if host not in served]
    return problems


def routes_that_repeat(manifests: Manifests) -> list[str]:
    """Istio repeats a failed request twice unless it is told not to."""
    services = manifests.of("VirtualService")
    asking = ((each, http) for each in services for http in _routes(each) if "directResponse" not in http)
    return [f"{title(each)}: has retries" for each, http in asking if http.get("retries") != {"attempts": 0}]


def services_that_are_asked_twice(manifests: Manifests) -> list[str]:
    """Every Service that a pod of the overlay may call has routes of its own: Istio's default ones repeat."""
    told = {host for each in manifests.of("VirtualService") for host in each["spec"]["hosts"]}
    called = set()
    for sidecar in manifests.of("Sidecar"):
        for egress in sidecar["spec"].get("egress", []):
            hosts = (entry.partition("/")[2] for entry in egress["hosts"] if entry != "~/*")
            called |= {host.partition(".")[0] for host in hosts if manifests.service_of(host)}
    return [f"Service {service}: no VirtualService turns repeating off" for service in sorted(called - told)]


def _on_a_gateway(manifests: Manifests, plugin: Object) -> bool:
    """That clients meet: a waypoint stands where a sidecar would."""
    named = [manifests.get("Gateway", each["name"]) for each in targets(plugin)]
    return any(each and each["spec"].get("gatewayClassName") != WAYPOINT_CLASS for each in named)


def _strategy(space: str, on_a_gateway: bool) -> str:
    """Where the hash is the authority the filter fails closed. On a gateway and on a client it is a hint, and fails open."""
    return "FAIL_RELOAD" if space == OUR_NAMESPACE and not on_a_gateway else "FAIL_OPEN"


def plugins_that_differ(manifests: Manifests) -> list[str]:
    """Tap and gate: one module, the tap first, equal but for the role."""
    pairs: dict[tuple[str, str], dict[str, Object]] = {}
    for plugin, spec in plugins(manifests):
        kind, _, role = plugin["metadata"]["name"].rpartition("-")
        pairs.setdefault((namespace(plugin), kind), {})[role] = spec | {"strategy": _strategy(namespace(plugin), _on_a_gateway(manifests, plugin))}
    problems = []
    for (_, kind), pair in pairs.items():
        if set(pair) != {"tap", "gate"}:
            problems.append(f"{kind}: there is only {', '.join(pair)}")
            continue
        tap, gate = pair["tap"], pair["gate"]
        if not tap["priority"] > gate["priority"]:
            problems.append(f"{kind}: the gate stands before the tap")
        for role, spec in pair.items():
            config = spec["pluginConfig"]
            if (config["role"], spec["phase"], spec["failStrategy"]) != (role, "STATS", spec["strategy"]):
                problems.append(f"{kind}-{role}: role, phase or fail strategy")
        same = [{**spec, "priority": 0, "wasm": None, "pluginConfig": {**spec["pluginConfig"], "role": ""}} for spec in (tap, gate)]
        if same[0] != same[1]:
            problems.append(f"{kind}: tap and gate differ in more than role and priority")
    return problems


def filters_side_by_side(manifests: Manifests) -> list[str]:
    """What takes the pair's place on the Varnish pods leaves none of it there, in whichever order components are listed."""
    pair = [title(each) for each, _ in plugins(manifests) if each["metadata"]["name"] in ("body-hash-gate", "body-hash-tap")]
    others = [title(each) for each in manifests.of("EnvoyFilter") if each["metadata"]["name"] in ("body-hash", "body-hash-file", "body-hash-native")]
    return [*pair, *others] if (pair and others) or len(others) > 1 else []

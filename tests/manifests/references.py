"""Whether every name that one object has for another means something."""

import json
from collections.abc import Iterator

from .objects import GATEWAY_LABELS, GATEWAY_NAMESPACE, OUR_NAMESPACE, Manifests, Object, Pod
from .objects import fits, ingress, name, namespace, selected_labels, targets, title

# What a cluster operator may add, and everything runs without.
_OPTIONAL_SECRETS = {"openai-secret", "upstream-secret"}
_POLICIES = ("AuthorizationPolicy", "EnvoyFilter", "NetworkPolicy", "PeerAuthentication", "PodDisruptionBudget", "Sidecar")
_PLUGINS = ("TrafficExtension", "WasmPlugin")


def named_objects(manifests: Manifests, each: Object) -> Iterator[tuple[str, str, str | None, bool]]:
    """(kind, name, key, optional) of what a workload or an autoscaler names."""
    if each["kind"] == "HorizontalPodAutoscaler":
        target = each["spec"]["scaleTargetRef"]
        yield target["kind"], target["name"], None, False
    if "template" not in (each.get("spec") or {}):
        return
    pod = Pod(each)
    yield "ServiceAccount", pod.account, None, False
    if each["kind"] == "StatefulSet":
        yield "Service", each["spec"]["serviceName"], None, False
    for volume in json.loads((pod.template["metadata"].get("annotations") or {}).get("sidecar.istio.io/userVolume", "[]")):
        yield "ConfigMap", volume["configMap"]["name"], None, False
    for volume in pod.spec.get("volumes", []):
        if "configMap" in volume:
            yield "ConfigMap", volume["configMap"]["name"], None, False
        if "secret" in volume:
            yield "Secret", volume["secret"]["secretName"], None, volume["secret"].get("optional", False)
    for container in pod.containers:
        yield from _named_by_environment(container)


def _named_by_environment(container: Object) -> Iterator[tuple[str, str, str | None, bool]]:
    for source in container.get("envFrom", []):
        for field, kind in (("configMapRef", "ConfigMap"), ("secretRef", "Secret")):
            if field in source:
                yield kind, source[field]["name"], None, source[field].get("optional", False)
    for variable in container.get("env", []):
        for field, kind in (("configMapKeyRef", "ConfigMap"), ("secretKeyRef", "Secret")):
            if field in variable.get("valueFrom", {}):
                found = variable["valueFrom"][field]
                yield kind, found["name"], found["key"], found.get("optional", False)


def names_of_nothing(manifests: Manifests) -> list[str]:
    problems = []
    for each in manifests.objects:
        for kind, wanted, key, optional in named_objects(manifests, each):
            found = manifests.get(kind, wanted, namespace(each))
            if found is None and not (optional and wanted in _OPTIONAL_SECRETS):
                problems.append(f"{title(each)}: there is no {kind} {wanted}")
            elif found is not None and key and not optional and key not in found.get("data", {}):
                problems.append(f"{title(each)}: {kind} {wanted} has no key {key}")
    return problems


def secrets_by_value(manifests: Manifests) -> list[str]:
    """A variable whose name says that it is secret, with its value in a manifest that is no Secret."""
    words = ("KEY", "PASSWORD", "SECRET", "TOKEN")
    problems = []
    for pod in manifests.pods():
        for container in pod.containers:
            for variable in container.get("env", []):
                if any(word in variable["name"] for word in words) and variable.get("value"):
                    problems.append(f"{title(pod.workload)}: {variable['name']} stands in the manifest")
    for config in manifests.of("ConfigMap"):
        # A path is none.
        settings = (key for key, value in config.get("data", {}).items() if key.isupper() and value and not value.startswith("/"))
        problems += [f"{title(config)}: {key} is no setting" for key in settings if any(word in key for word in words)]
    return problems


def services_without_pods(manifests: Manifests) -> list[str]:
    problems = []
    for service in manifests.of("Service"):
        pods = manifests.pods(service["spec"]["selector"])
        if not pods:
            problems.append(f"{title(service)}: no pod has its labels")
        for port in service["spec"]["ports"]:
            for pod in pods:
                if pod.port(port.get("targetPort", port["port"])) not in pod.ports.values():
                    problems.append(f"{title(service)}: {title(pod.workload)} has no port {port.get('targetPort')}")
    return problems


def probes_of_no_port(manifests: Manifests) -> list[str]:
    problems = []
    for pod in manifests.pods():
        for container in pod.containers:
            for kind in ("livenessProbe", "readinessProbe", "startupProbe"):
                probe = container.get(kind, {})
                wanted = (probe.get("httpGet") or probe.get("tcpSocket") or {}).get("port")
                if wanted is not None and pod.port(wanted) is None:
                    problems.append(f"{title(pod.workload)}: {kind} asks the port {wanted}, which it has not")
    return problems


def selectors_of_nothing(manifests: Manifests) -> list[str]:
    problems, gateway = [], ingress(manifests)
    for each in manifests.of(*_POLICIES, *_PLUGINS):
        labels = selected_labels(each)
        ours = namespace(each) in ("", OUR_NAMESPACE)
        problems += [f"{title(each)}: there is no {to['kind']} {to['name']}" for to in targets(each) if not manifests.get(to["kind"], to["name"])]
        of_the_gateway = gateway.namespace == OUR_NAMESPACE and fits(gateway.labels, labels)
        if ours and not manifests.pods(labels) and not of_the_gateway:
            problems.append(f"{title(each)}: no pod has the labels {labels}")
        if not ours and namespace(each) != GATEWAY_NAMESPACE:
            problems.append(f"{title(each)}: stands in the namespace {namespace(each)}")
        if not ours and not fits(GATEWAY_LABELS, labels) and not any("sticky" in label for label in labels):
            problems.append(f"{title(each)}: would select more than the gateway")
    return problems


def policies_of_nobody(manifests: Manifests) -> list[str]:
    """Principals that no pod has."""
    known = {pod.principal for pod in manifests.pods()} | {ingress(manifests).principal}
    problems = []
    for policy in manifests.of("AuthorizationPolicy"):
        for rule in (policy.get("spec") or {}).get("rules", []):
            for source in rule.get("from", []):
                wrong = set(source["source"].get("principals", [])) - known
                problems += [f"{title(policy)}: no pod is {principal}" for principal in sorted(wrong)]
    return problems


def left_unset(manifests: Manifests) -> list[str]:
    """What transformers/ should have written and has not."""
    return [title(each) for each in manifests.objects if "set-by-replacement" in str(each)]

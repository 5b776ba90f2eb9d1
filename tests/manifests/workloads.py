"""What every pod must be: pinned, restricted, labelled, with room for its end."""

import json
import re

from harness.variables import defaults, seconds

from .objects import WORKLOADS, Manifests, Object, Pod, container_environment, plugins, title

_DIGEST = re.compile(r"@sha256:[0-9a-f]{64}$")
# A version: starts with its number, or is a release or a commit. Names of channels move.
_VERSION = re.compile(r":(?:v?\d+(?:\.\d+)+[\w.-]*|RELEASE\.[\w.-]+|[0-9a-f]{7,40}(?:-dirty)?)$")
# Pod Security `restricted`, the volumes that it allows.
_VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "image", "persistentVolumeClaim", "projected", "secret"}
_UNITS = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "k": 2**10, "m": 2**20, "g": 2**30, "": 1}


# What `kubectl apply` writes into an annotation of each object, which may not be longer.
_LARGEST_OBJECT = 262_144


def too_large_to_apply(manifests: Manifests) -> list[str]:
    """But for the filter's modules, which README.md says to apply by the server."""
    objects = (each for each in manifests.objects if not each["metadata"]["name"].startswith("body-hash-filter"))
    return [title(each) for each in objects if len(json.dumps(each)) > _LARGEST_OBJECT]


def in_bytes(quantity: str) -> int:
    """Of what a manifest or start.sh says."""
    number, unit = re.fullmatch(r"(\d+)(\w*)", quantity).groups()
    return int(number) * _UNITS[unit]


def images(manifests: Manifests) -> list[tuple[str, str]]:
    """(who, image) of everything that is fetched from a registry."""
    found = [(title(pod.workload), container["image"]) for pod in manifests.pods() for container in pod.containers]
    found += [(title(pod.workload), volume["image"]["reference"]) for pod in manifests.pods() for volume in pod.spec.get("volumes", []) if "image" in volume]
    found += [(title(plugin), spec["url"]) for plugin, spec in plugins(manifests) if not spec["url"].startswith("file:")]
    for each in manifests.of("EnvoyFilter"):
        found += [(title(each), uri) for uri in re.findall(r"'uri': '([^']+)'", str(each))]
    return found


def unpinned(manifests: Manifests) -> list[str]:
    return [f"{who}: {image}" for who, image in images(manifests) if not (_DIGEST.search(image) or _VERSION.search(image))]


def _pod_problems(pod: Pod) -> list[str]:
    spec, context = pod.spec, pod.spec.get("securityContext", {})
    wrong = [field for field in ("hostNetwork", "hostPID", "hostIPC") if spec.get(field)]
    wrong += [f"volume {kind}" for volume in spec.get("volumes", []) for kind in volume.keys() - {"name"} - _VOLUMES]
    # Where the namespace gives the user, none is named; kubelet still refuses root.
    if context.get("runAsNonRoot") is not True or not context.get("runAsUser", 1) > 0:
        wrong.append("may run as root")
    if context.get("seccompProfile", {}).get("type") != "RuntimeDefault":
        wrong.append("seccomp profile")
    if spec.get("automountServiceAccountToken") is not False:
        wrong.append("mounts a token")
    return wrong


def _container_problems(container: Object) -> list[str]:
    context = container.get("securityContext", {})
    wrong = ["is privileged"] if context.get("privileged") else []
    if context.get("allowPrivilegeEscalation") is not False:
        wrong.append("may escalate")
    if context.get("capabilities") != {"drop": ["ALL"]}:
        wrong.append("capabilities")
    if context.get("readOnlyRootFilesystem") is not True:
        wrong.append("may write to its root")
    if any(port.get("hostPort") for port in container.get("ports", [])):
        wrong.append("host port")
    if context.get("runAsUser", 1) == 0 or context.get("runAsNonRoot") is False:
        wrong.append("runs as root")
    return wrong


def unrestricted(manifests: Manifests) -> list[str]:
    """Pod Security `restricted`, a read-only root and no token on top."""
    problems = []
    for pod in manifests.pods():
        problems += [f"{title(pod.workload)}: {each}" for each in _pod_problems(pod)]
        for container in pod.containers:
            problems += [f"{title(pod.workload)}: {container['name']}: {each}" for each in _container_problems(container)]
    accounts = manifests.of("ServiceAccount")
    return problems + [f"{title(each)}: mounts a token" for each in accounts if each.get("automountServiceAccountToken") is not False]


def unlabelled(manifests: Manifests) -> list[str]:
    problems = []
    for pod in manifests.pods():
        wanted = {"app", "app.kubernetes.io/component", "app.kubernetes.io/name", "app.kubernetes.io/part-of"}
        problems += [f"{title(pod.workload)}: no label {label}" for label in sorted(wanted - pod.labels.keys())]
        # Istio's telemetry calls a workload by the second, and people by the first.
        if pod.labels.get("app") != pod.labels.get("app.kubernetes.io/name"):
            problems.append(f"{title(pod.workload)}: two names")
    return problems


def without_resources(manifests: Manifests) -> list[str]:
    problems = []
    for pod in manifests.pods():
        for container in pod.containers:
            resources = container.get("resources", {})
            if not {"cpu", "memory"} <= resources.get("requests", {}).keys() or "memory" not in resources.get("limits", {}):
                problems.append(f"{title(pod.workload)}: {container['name']}")
    return problems


def with_resources(manifests: Manifests) -> list[str]:
    return [title(pod.workload) for pod in manifests.pods() for container in pod.containers if "resources" in container]


def ends_too_early(manifests: Manifests) -> list[str]:
    """preStop and the program's own drain fit into the grace period, and the proxy stays as long."""
    problems = []
    for pod in manifests.pods():
        if pod.workload["kind"] == "Job":
            continue
        grace = pod.spec.get("terminationGracePeriodSeconds", 30)
        # One that runs to its end before the rest is not asked.
        for container in pod.spec["containers"]:
            before = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
            if any(port["name"] == "http" for port in container.get("ports", [])) and before < 5:
                problems.append(f"{title(pod.workload)}: ends while it is still asked")
            drain = container_environment(manifests, container).get("SHUTDOWN_GRACE") or defaults(container["name"]).get("SHUTDOWN_GRACE", "0s")
            if before + seconds(drain) + 10 > grace:
                problems.append(f"{title(pod.workload)}: {grace} s are too short")
    return problems


def proxies_that_leave_first(manifests: Manifests) -> list[str]:
    wanted = ("holdApplicationUntilProxyStarts: true", 'EXIT_ON_ZERO_ACTIVE_CONNECTIONS: "true"')
    told = ((each, (each["spec"]["template"]["metadata"].get("annotations") or {}).get("proxy.istio.io/config", "")) for each in manifests.of(*WORKLOADS))
    return [f"{title(each)}: {line}" for each, config in told for line in wanted if line not in config]


def varnish_without_room(manifests: Manifests) -> list[str]:
    """Stored answers and their overhead, bodies, answers that pass, and what varnishd writes to its folder in memory."""
    pod = Pod(manifests.get("StatefulSet", "embedding-gateway-varnish"))
    resources = pod.spec["containers"][0]["resources"]
    start = next(each["data"]["start.sh"] for each in manifests.of("ConfigMap") if "start.sh" in each.get("data", {}))
    stores = [in_bytes(re.search(rf"\$\{{{store}:-(\w+)}}", start)[1]) for store in ("BODY_MEMORY", "TRANSIENT_MEMORY")]
    log = in_bytes(next(each["emptyDir"]["sizeLimit"] for each in pod.spec["volumes"] if "emptyDir" in each))
    need = in_bytes(resources["requests"]["memory"]) * 5 // 4 + sum(stores) + log
    limit = in_bytes(resources["limits"]["memory"])
    return [] if need <= limit else [f"the limit of {limit} bytes is below {need}"]

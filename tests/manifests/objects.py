"""Rendered objects, and what can be asked of them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

Object = dict[str, Any]

WORKLOADS = ("Deployment", "Job", "StatefulSet")
OUR_NAMESPACE = "embedding-gateway"
# Where the ingress gateway stands, which is not ours: how overlays/dev/cluster names it.
GATEWAY_NAMESPACE = "istio-system"
GATEWAY_LABELS = {"istio": "ingressgateway"}
GATEWAY_PRINCIPAL = "cluster.local/ns/istio-system/sa/istio-ingressgateway-service-account"
# What istiod makes of a Gateway of Gateway API: its pods' label, and the kind's group.
GATEWAY_API = "gateway.networking.k8s.io"
GATEWAY_NAME_LABEL = f"{GATEWAY_API}/gateway-name"
# The class of Gateways that no client meets: of ambient mode.
WAYPOINT_CLASS = "istio-waypoint"


def name(each: Object) -> str:
    return each["metadata"]["name"]


def namespace(each: Object) -> str:
    return each["metadata"].get("namespace", "")


def annotations(each: Object) -> dict[str, str]:
    return each["metadata"].get("annotations") or {}


def wave(each: Object) -> int:
    return int(annotations(each).get("argocd.argoproj.io/sync-wave", "0"))


def title(each: Object) -> str:
    return f"{each['kind']} {name(each)}"


def fits(labels: dict[str, str], wanted: dict[str, str] | None) -> bool:
    """An empty selector fits everything."""
    return (wanted or {}).items() <= labels.items()


@dataclass(frozen=True)
class Pod:
    """The pods of one workload, as its template describes them."""

    workload: Object

    @property
    def template(self) -> Object:
        return self.workload["spec"]["template"]

    @property
    def spec(self) -> Object:
        return self.template["spec"]

    @property
    def labels(self) -> dict[str, str]:
        return self.template["metadata"]["labels"]

    @property
    def app(self) -> str:
        return self.labels["app"]

    @property
    def account(self) -> str:
        return self.spec.get("serviceAccountName", "default")

    @property
    def principal(self) -> str:
        return f"cluster.local/ns/{namespace(self.workload)}/sa/{self.account}"

    @property
    def containers(self) -> list[Object]:
        return self.spec.get("initContainers", []) + self.spec["containers"]

    @property
    def ports(self) -> dict[str, int]:
        return {port["name"]: port["containerPort"] for each in self.containers for port in each.get("ports", [])}

    def port(self, wanted: str | int) -> int | None:
        return self.ports.get(wanted) if isinstance(wanted, str) else wanted


@dataclass(frozen=True)
class Manifests:
    """Everything that one `kubectl apply -k` would send."""

    objects: list[Object]

    def of(self, *kinds: str) -> Iterator[Object]:
        return (each for each in self.objects if each["kind"] in kinds)

    def get(self, kind: str, wanted: str, space: str | None = None) -> Object | None:
        found = (each for each in self.of(kind) if name(each) == wanted and space in (None, namespace(each)))
        return next(found, None)

    def pods(self, labels: dict[str, str] | None = None) -> list[Pod]:
        every = [Pod(each) for each in self.of(*WORKLOADS)]
        return [pod for pod in every if fits(pod.labels, labels)]

    def service_of(self, host: str) -> Object | None:
        """The Service that a host of the mesh means."""
        short, _, rest = host.partition(".")
        whole = rest in ("", OUR_NAMESPACE, f"{OUR_NAMESPACE}.svc", f"{OUR_NAMESPACE}.svc.cluster.local")
        return self.get("Service", short) if whole else None

    def external_hosts(self) -> set[str]:
        return {host for each in self.of("ServiceEntry") for host in each["spec"]["hosts"]}


@dataclass(frozen=True)
class Ingress:
    """The proxies that clients meet: the mesh's own, or what istiod makes of the overlay's Gateway."""

    namespace: str
    labels: dict[str, str]
    principal: str


def ingress(manifests: Manifests) -> Ingress:
    for gateway in manifests.of("Gateway"):
        if gateway["apiVersion"].startswith(GATEWAY_API) and gateway["spec"]["gatewayClassName"] != WAYPOINT_CLASS:
            labels = gateway["spec"]["infrastructure"]["labels"] | {GATEWAY_NAME_LABEL: name(gateway)}
            account = f"{name(gateway)}-{gateway['spec']['gatewayClassName']}"
            return Ingress(OUR_NAMESPACE, labels, f"cluster.local/ns/{OUR_NAMESPACE}/sa/{account}")
    return Ingress(GATEWAY_NAMESPACE, GATEWAY_LABELS, GATEWAY_PRINCIPAL)


def targets(each: Object) -> list[Object]:
    """The gateways that a policy, plugin or filter names; with any it concerns no pods of the namespace."""
    return (each.get("spec") or {}).get("targetRefs", [])


def plugins(manifests: Manifests) -> Iterator[tuple[Object, Object]]:
    """(object, what it says of the filter) of each WasmPlugin and each TrafficExtension."""
    for each in manifests.of("WasmPlugin", "TrafficExtension"):
        spec = each["spec"]
        yield each, spec | spec.get("wasm", {})


def selected_labels(each: Object) -> dict[str, str]:
    """What a policy, plugin or Sidecar selects; nothing named means the whole namespace."""
    spec = each.get("spec") or {}
    selector = spec.get("selector") or spec.get("workloadSelector") or spec.get("podSelector") or {}
    return selector.get("matchLabels") or selector.get("labels") or {}


def container_environment(manifests: Manifests, container: Object) -> dict[str, str | None]:
    """Its variables; None where the value is not in a manifest."""
    found: dict[str, str | None] = {}
    for source in container.get("envFrom", []):
        config = manifests.get("ConfigMap", source["configMapRef"]["name"]) or {}
        found |= config.get("data", {})
    for variable in container.get("env", []):
        found[variable["name"]] = variable.get("value") or _from_config_map(manifests, variable)
    return found


def _from_config_map(manifests: Manifests, variable: dict) -> str | None:
    source = variable.get("valueFrom", {}).get("configMapKeyRef")
    return source and (manifests.get("ConfigMap", source["name"]) or {}).get("data", {}).get(source["key"])

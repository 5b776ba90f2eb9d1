"""Whether the gateway finds what its file of upstreams names, and reaches each, its bucket and its collector, by every rule on the way."""

import tomllib
from collections.abc import Iterator
from fnmatch import fnmatch
from urllib.parse import urlsplit

from .objects import OUR_NAMESPACE, Manifests, Object, Pod, container_environment, fits, selected_labels

_PORTS = {"http": 80, "https": 443}
_INSIDE = ".svc.cluster.local"


def _gateway(manifests: Manifests) -> Pod:
    return Pod(manifests.get("Deployment", "embedding-gateway"))


def _volumes(pod: Pod) -> dict[str, Object]:
    """By the folder where the gateway sees them."""
    volumes = {each["name"]: each for each in pod.spec["volumes"]}
    return {each["mountPath"]: volumes[each["name"]] for each in pod.spec["containers"][0]["volumeMounts"]}


def _file(manifests: Manifests, path: str) -> Object | None:
    folder, _, name = path.rpartition("/")
    source = _volumes(_gateway(manifests)).get(folder, {}).get("configMap", {"name": ""})
    text = (manifests.get("ConfigMap", source["name"]) or {}).get("data", {}).get(name)
    return tomllib.loads(text) if text else None


def _no_credential(manifests: Manifests, credential: str) -> Iterator[str]:
    kind, _, where = credential.partition(":")
    pod = _gateway(manifests)
    if kind == "env" and where not in container_environment(manifests, pod.spec["containers"][0]):
        yield f"is given no {where}"
    if kind == "file" and "secret" not in _volumes(pod).get(where.rpartition("/")[0], {}):
        yield f"has no Secret at {where}"


def _let_out(manifests: Manifests, port: int, fits_to: Object) -> bool:
    labels = _gateway(manifests).labels
    policies = [each for each in manifests.of("NetworkPolicy") if selected_labels(each) and fits(labels, selected_labels(each))]
    rules = [rule for each in policies for rule in each["spec"].get("egress", [])]
    open_to = [to for rule in rules for to in rule["to"] if {"protocol": "TCP", "port": port} in rule["ports"]]
    return any(fits_to.items() <= (to.get("ipBlock") or to.get("namespaceSelector", {}).get("matchLabels") or {}).items() for to in open_to)


def _sidecar_hosts(manifests: Manifests) -> list[str] | None:
    """None in a mesh without sidecars."""
    sidecar = manifests.get("Sidecar", "embedding-gateway")
    return sidecar and [host for egress in sidecar["spec"]["egress"] for host in egress["hosts"]]


def _unreachable(manifests: Manifests, base_url: str) -> Iterator[str]:
    url = urlsplit(base_url)
    host, port = url.hostname or "", url.port or _PORTS[url.scheme]
    space = host.removesuffix(_INSIDE).rpartition(".")[2] if host.endswith(_INSIDE) else None
    entries = (each["spec"] for each in manifests.of("ServiceEntry") if host in each["spec"]["hosts"])
    if space is None and not any(each["number"] == port for entry in entries for each in entry["ports"]):
        yield f"{host}:{port} is in no ServiceEntry"
    of_space = "." if space in (None, OUR_NAMESPACE) else space
    hosts = _sidecar_hosts(manifests)
    if hosts is not None and not any(fnmatch(f"{of_space}/{host}", each) for each in hosts):
        yield f"{host} is not in the Sidecar"
    wanted = {"kubernetes.io/metadata.name": space} if space else {"cidr": "0.0.0.0/0"}
    if not _let_out(manifests, port, wanted):
        yield f"no NetworkPolicy lets out to {host}:{port}"


def upstreams_out_of_reach(manifests: Manifests) -> list[str]:
    given = container_environment(manifests, _gateway(manifests).spec["containers"][0])
    path = given.get("UPSTREAMS_FILE")
    if not path:
        return list(_unreachable(manifests, given.get("OPENAI_BASE_URL") or "https://api.openai.com/v1"))
    file = _file(manifests, path)
    if file is None:
        return [f"no ConfigMap holds {path}"]
    problems = []
    for name, upstream in file["upstreams"].items():
        found = [*_no_credential(manifests, upstream["credential"]), *_unreachable(manifests, upstream["base_url"])]
        problems += [f"upstream {name}: {each}" for each in found]
    return problems


def _named_by_variables(given: dict[str, str | None]) -> Iterator[str]:
    """The bucket of AWS and the collector. A server in the cluster, by its short name, is one of reach.py's targets."""
    for variable, service in (("S3_ENDPOINT", "s3"), ("AWS_ENDPOINT_URL_STS", "sts")):
        url = given.get(variable) or f"https://{service}.{given['AWS_REGION']}.amazonaws.com"
        if "." in url and (service == "s3" or "." in (given.get("S3_ENDPOINT") or ".")):
            yield url
    if given.get("OTEL_EXPORTER_OTLP_ENDPOINT"):
        yield given["OTEL_EXPORTER_OTLP_ENDPOINT"] or ""


def named_by_variables_and_out_of_reach(manifests: Manifests) -> list[str]:
    given = container_environment(manifests, _gateway(manifests).spec["containers"][0])
    return [each for url in _named_by_variables(given) for each in _unreachable(manifests, url)]

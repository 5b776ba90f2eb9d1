"""A container's environment: the image's, the cluster's, what the Pod names, each value from where the Pod says it is."""

import base64
import json
import re
from collections.abc import Callable

from kubelet.api import Api, ApiError
from kubelet.sandbox import NODE_ADDRESS

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
NODE_NAME = "local"
_REFERENCE = re.compile(r"\$(?:\$|\(([A-Za-z_][A-Za-z0-9_.-]*)\))")
_SUFFIXES = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "k": 1e3, "M": 1e6, "G": 1e9, "m": 1e-3, "": 1}
# What a limit is when a manifest sets none: the node's.
_NODE_RESOURCES = {"cpu": "2", "memory": "8Gi", "ephemeral-storage": "8Gi"}


class CannotConfigure(Exception):
    """A container that cannot start yet: something that it names is not there."""


def environment(api: Api, pod: dict, container: dict, address: str, image: dict[str, str]) -> dict[str, str]:
    """All variables of the container; CannotConfigure when a value that it needs does not exist."""
    sources = Sources(api, pod, address)
    values = {"PATH": PATH, "HOSTNAME": pod["metadata"]["name"]} | image
    if pod["spec"].get("enableServiceLinks", True):
        values |= service_links(api.items(f"/api/v1/namespaces/{sources.namespace}/services"))
    for entry in container.get("envFrom", []):
        values |= sources.all_of(entry)
    for entry in container.get("env", []):
        value = sources.value_of(entry, container)
        if value is not None:
            values[entry["name"]] = expand(value, values)
    return values


def expand(text: str, values: dict[str, str]) -> str:
    """`$(NAME)` becomes the variable's value and `$$` a dollar; an unknown name stays as it is."""

    def replacement(match: re.Match) -> str:
        return "$" if match[1] is None else values.get(match[1], match[0])

    return _REFERENCE.sub(replacement, text)


def service_links(services: list[dict]) -> dict[str, str]:
    """The variables that Kubernetes adds for each Service of the namespace, wanted or not."""
    links = {}
    for service in services:
        address, ports = service["spec"].get("clusterIP"), service["spec"].get("ports")
        if not address or address == "None" or not ports:
            continue
        prefix = service["metadata"]["name"].upper().replace("-", "_")
        links[f"{prefix}_SERVICE_HOST"] = address
        links[f"{prefix}_SERVICE_PORT"] = str(ports[0]["port"])
        links[f"{prefix}_PORT"] = f"tcp://{address}:{ports[0]['port']}"
    return links


class Sources:
    """Where the values of one Pod's variables and files come from."""

    def __init__(self, api: Api, pod: dict, address: str) -> None:
        self._api, self._pod, self._address = api, pod, address
        self.namespace = pod["metadata"]["namespace"]

    def value_of(self, entry: dict, container: dict) -> str | None:
        """The value of one `env` entry; None when it is optional and absent."""
        origin = entry.get("valueFrom")
        if not origin:
            return entry.get("value", "")
        readers: dict[str, Callable[[dict], str | None]] = {
            "fieldRef": lambda reference: self.field(reference["fieldPath"]),
            "resourceFieldRef": lambda reference: self.resource(reference, container),
            "configMapKeyRef": lambda reference: self._key("configmaps", reference),
            "secretKeyRef": lambda reference: self._key("secrets", reference),
        }
        ((kind, reference),) = origin.items()
        return readers[kind](reference)

    def all_of(self, entry: dict) -> dict[str, str]:
        """What one `envFrom` entry brings."""
        kind, reference = ("configmaps", entry["configMapRef"]) if "configMapRef" in entry else ("secrets", entry["secretRef"])
        content = self.content(kind, reference["name"], reference.get("optional", False))
        return {entry.get("prefix", "") + key: value.decode() for key, value in content.items()}

    def content(self, kind: str, name: str, optional: bool = False) -> dict[str, bytes]:
        """All keys of a ConfigMap or Secret."""
        try:
            found = self._api.get(f"/api/v1/namespaces/{self.namespace}/{kind}/{name}")
        except ApiError as error:
            if error.status != 404:
                raise
            if optional:
                return {}
            raise CannotConfigure(f"{kind} {name!r} not found") from error
        decode = base64.b64decode if kind == "secrets" else str.encode
        plain = {key: decode(value) for key, value in (found.get("data") or {}).items()}
        return plain | {key: base64.b64decode(value) for key, value in (found.get("binaryData") or {}).items()}

    def field(self, path: str) -> str:
        """What the downward API says of this Pod; labels and annotations as the file format has them."""
        metadata, spec = self._pod["metadata"], self._pod["spec"]
        selected = re.fullmatch(r"metadata\.(labels|annotations)\['(.*)'\]", path)
        if selected:
            return metadata.get(selected[1], {}).get(selected[2], "")
        if path in ("metadata.labels", "metadata.annotations"):
            return lines(metadata.get(path.removeprefix("metadata."), {}))
        return {
            "metadata.name": metadata["name"],
            "metadata.namespace": metadata["namespace"],
            "metadata.uid": metadata["uid"],
            "spec.nodeName": NODE_NAME,
            "spec.serviceAccountName": spec.get("serviceAccountName", "default"),
            "status.podIP": self._address,
            "status.podIPs": self._address,
            "status.hostIP": NODE_ADDRESS,
        }[path]

    def resource(self, reference: dict, container: dict) -> str:
        """A request or limit in units of the divisor, rounded up."""
        kind, name = reference["resource"].split(".")
        given = container.get("resources", {})
        amount = given.get(kind, {}).get(name) or given.get("limits", {}).get(name) or _NODE_RESOURCES[name]
        divisor = quantity(reference.get("divisor") or "1") or 1
        return str(int(-(-quantity(amount) // divisor)))

    def _key(self, kind: str, reference: dict) -> str | None:
        optional = reference.get("optional", False)
        content = self.content(kind, reference["name"], optional)
        if reference["key"] in content:
            return content[reference["key"]].decode()
        if optional:
            return None
        raise CannotConfigure(f"{kind} {reference['name']!r} has no key {reference['key']!r}")


def lines(pairs: dict[str, str]) -> str:
    """Labels or annotations as the downward API writes them into a file."""
    return "\n".join(f"{key}={json.dumps(value)}" for key, value in sorted(pairs.items()))


def quantity(text: str) -> float:
    """A Kubernetes quantity as a number: `512Mi`, `100m`, `2`."""
    number, suffix = re.fullmatch(r"([0-9.]+)([A-Za-z]*)", str(text)).groups()
    return float(number) * _SUFFIXES[suffix]

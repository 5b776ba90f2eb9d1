"""What the cluster's DNS answers: Services and the Pods behind headless ones, as the API server knows them, and the names of the world outside."""

import socket
import struct
import threading
from collections import defaultdict

from cluster.api import Api, ApiError
from cluster.network import NODE_ADDRESS

DOMAIN = "cluster.local"
PORT = 53
# Short: a Pod that is gone must not be asked for long.
TTL_SECONDS = 1
_TYPE_A, _CLASS_IN = 1, 1
_NO_ERROR, _NAME_ERROR = 0, 3
_AUTHORITATIVE_ANSWER = 0x8580


class Names:
    """Answers at the node's address. `outside` are names that are not the cluster's; `*.` at the start stands for any name below."""

    def __init__(self, api: Api, outside: dict[str, str]) -> None:
        self._api = api
        self._outside = {f"{name}.{DOMAIN}" if name.endswith(".svc") else name: where for name, where in outside.items()}
        self._services: dict[tuple[str, str], dict] = {}
        self._slices: dict[tuple[str, str], dict] = {}
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((NODE_ADDRESS, PORT))
        for target in (
            lambda: self._follow("/api/v1/services", self._services),
            lambda: self._follow("/apis/discovery.k8s.io/v1/endpointslices", self._slices),
            self._serve,
        ):
            threading.Thread(target=target, daemon=True).start()

    def add(self, name: str, address: str) -> None:
        """A name of the world outside."""
        self._outside[name] = address

    def addresses(self, name: str) -> list[str] | None:
        """The addresses of a name, None if there is no such name."""
        name = name.lower().rstrip(".")
        parent = "*." + name.partition(".")[2]
        while parent != "*.":
            if parent in self._outside:
                return [self._outside[parent]]
            parent = "*." + parent[2:].partition(".")[2]
        if name in self._outside:
            return [self._outside[name]]
        return self._in_cluster(name.removesuffix(f".svc.{DOMAIN}").split(".")) if name.endswith(f".svc.{DOMAIN}") else None

    def _in_cluster(self, labels: list[str]) -> list[str] | None:
        """`service.namespace` or, of a headless one, `host.service.namespace`."""
        service = self._services.get((labels[-1], labels[-2])) if len(labels) >= 2 else None
        if service is None:
            return None
        spec = service["spec"]
        if len(labels) == 2 and spec.get("clusterIP") != "None":
            return [spec["clusterIP"]]
        hosts = self._hosts(service)
        if len(labels) == 2:
            return sorted(address for addresses in hosts.values() for address in addresses)
        return hosts.get(labels[0])

    def _hosts(self, service: dict) -> dict[str, list[str]]:
        """The addresses behind a headless Service, by host name."""
        all_of_them = service["spec"].get("publishNotReadyAddresses", False)
        hosts = defaultdict(list)
        for piece in list(self._slices.values()):
            labels = piece["metadata"].get("labels", {})
            same = piece["metadata"]["namespace"] == service["metadata"]["namespace"]
            if not same or labels.get("kubernetes.io/service-name") != service["metadata"]["name"]:
                continue
            for endpoint in piece.get("endpoints") or []:
                if all_of_them or endpoint.get("conditions", {}).get("ready"):
                    hosts[endpoint.get("hostname", "")] += endpoint["addresses"]
        return hosts

    def _follow(self, path: str, known: dict[tuple[str, str], dict]) -> None:
        while True:
            try:
                for kind, item in self._api.watch(path):
                    key = item["metadata"]["namespace"], item["metadata"]["name"]
                    if kind == "DELETED":
                        known.pop(key, None)
                    else:
                        known[key] = item
            except (OSError, ApiError):
                threading.Event().wait(1)

    def _serve(self) -> None:
        while True:
            query, client = self._socket.recvfrom(4096)
            try:
                self._socket.sendto(self._answer(query), client)
            except (IndexError, struct.error, OSError):
                # A broken question, or an asker that is gone.
                continue

    def _answer(self, query: bytes) -> bytes:
        name, end = _question(query)
        (kind,) = struct.unpack_from("!H", query, end)
        addresses = self.addresses(name)
        records = [_record(each) for each in addresses or []] if kind == _TYPE_A else []
        flags = _AUTHORITATIVE_ANSWER | (_NO_ERROR if addresses is not None else _NAME_ERROR)
        header = query[:2] + struct.pack("!HHHHH", flags, 1, len(records), 0, 0)
        return header + query[12 : end + 4] + b"".join(records)


def _question(query: bytes) -> tuple[str, int]:
    """The name that is asked for, and where in the query it ends."""
    labels, at = [], 12
    while query[at]:
        labels.append(query[at + 1 : at + 1 + query[at]].decode("ascii", "replace"))
        at += 1 + query[at]
    return ".".join(labels), at + 1


def _record(address: str) -> bytes:
    """An A record whose name is the question's."""
    return b"\xc0\x0c" + struct.pack("!HHIH", _TYPE_A, _CLASS_IN, TTL_SECONDS, 4) + socket.inet_aton(address)

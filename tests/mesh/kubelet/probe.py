"""Probes: whether a container has started, may get traffic, must be restarted; each with its own parameters."""

import http.client
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable
from dataclasses import dataclass

from kubelet.process import ContainerProcess


@dataclass(frozen=True)
class Place:
    """Where a probe's question goes: the Pod's address and the container's named ports."""

    address: str
    ports: dict[str, int]

    def port(self, given: int | str) -> int:
        """KeyError for a name that no port has."""
        return given if isinstance(given, int) else self.ports[given]


def ask(action: dict, process: ContainerProcess, place: Place, timeout: float) -> bool:
    """Does what a probe or a lifecycle hook says; true if it succeeded."""
    try:
        if "exec" in action:
            return process.run(action["exec"]["command"], timeout).returncode == 0
        if "httpGet" in action:
            return 200 <= _get(action["httpGet"], place, timeout) < 400
        if "tcpSocket" in action:
            socket.create_connection((place.address, place.port(action["tcpSocket"]["port"])), timeout).close()
            return True
    except (OSError, http.client.HTTPException, KeyError, subprocess.TimeoutExpired):
        return False
    raise NotImplementedError(f"a probe of the kind {sorted(action)}")


def _get(request: dict, place: Place, timeout: float) -> int:
    address, port = request.get("host") or place.address, place.port(request["port"])
    if request.get("scheme") == "HTTPS":
        connection = http.client.HTTPSConnection(address, port, timeout=timeout, context=ssl._create_unverified_context())
    else:
        connection = http.client.HTTPConnection(address, port, timeout=timeout)
    headers = {each["name"]: each["value"] for each in request.get("httpHeaders", [])}
    try:
        connection.request("GET", request.get("path", "/"), headers=headers | {"User-Agent": "kube-probe/1.36"})
        return connection.getresponse().status
    finally:
        connection.close()


class Probe(threading.Thread):
    """Asks again and again, and tells when enough answers in a row say something new."""

    def __init__(
        self, spec: dict, process: ContainerProcess, place: Place, known: bool | None, tell: Callable[[bool], None]
    ) -> None:
        """`known` is the state before the first verdict, None if any verdict is new."""
        super().__init__(daemon=True)
        self._spec, self._process, self._place, self._tell = spec, process, place, tell
        self._known, self._latest, self._in_a_row = known, None, 0
        self._stopped = threading.Event()
        self.start()

    def stop(self) -> None:
        self._stopped.set()

    def run(self) -> None:
        pause = self._spec.get("initialDelaySeconds", 0)
        while not self._stopped.wait(pause):
            self._count(ask(self._spec, self._process, self._place, self._spec.get("timeoutSeconds", 1)))
            pause = self._spec.get("periodSeconds", 10)

    def _count(self, success: bool) -> None:
        self._in_a_row = self._in_a_row + 1 if success is self._latest else 1
        self._latest = success
        enough = self._spec.get("successThreshold", 1) if success else self._spec.get("failureThreshold", 3)
        if self._in_a_row >= enough and success is not self._known and not self._stopped.is_set():
            self._known = success
            self._tell(success)

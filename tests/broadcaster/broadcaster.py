"""The broadcaster as it ships, and what else stands at an address that it purges."""

import json
import os
import socket
from pathlib import Path

from backend.system import RELEASE
from harness import secrets
from harness.client import Answer, send
from harness.processes import Process
from harness.programs import keep_metrics
from harness.waiting import eventually

from .zone import NAME, Zone

START_SECONDS = 30


class Broadcaster:
    """One broadcaster, which asks `zone` for the Varnishes on `port`."""

    def __init__(self, folder: Path, zone: Zone, port: int, **variables: str) -> None:
        own = {
            "LISTEN": "127.0.0.1:0",
            "LOG_FORMAT": "json",
            "VARNISH_SERVICE": f"{NAME}:{port}",
            "DNS_SERVERS": f"127.0.0.1:{zone.port}",
            "ALLOW_ANONYMOUS_PURGE": "true",
        }
        self.process = Process([RELEASE / "endpoint-broadcaster"], folder / "broadcaster.log", env=dict(os.environ) | secrets.talkative | own | variables)
        self.url = "http://" + eventually(self._address, START_SECONDS, "the broadcaster's address")

    def _address(self) -> str | None:
        assert self.process.exit_code is None, self.process.log_text()
        lines = self.process.log_text().splitlines()
        return next((json.loads(line)["address"] for line in lines if '"message":"ready"' in line), None)

    def purge(self, path: str = "/v1/embeddings", **headers: str) -> Answer:
        return send(self.url, "PURGE", path, headers={name.replace("_", "-"): value for name, value in headers.items()})

    def stop(self) -> None:
        keep_metrics(self.process, self.url)
        self.process.stop()


class Hanging:
    """Takes connections at an address, and never answers."""

    def __init__(self, address: str, port: int) -> None:
        self._listener = socket.create_server((address, port))

    def stop(self) -> None:
        self._listener.close()

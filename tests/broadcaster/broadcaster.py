"""The broadcaster as it ships, and what else stands at an address that it purges."""

import os
import socket
from pathlib import Path

from harness import programs, secrets
from harness.client import Answer, send
from harness.processes import Process

from .zone import NAME, Zone


class Broadcaster:
    """One broadcaster, which asks `zone` for the Varnishes on `port`."""

    def __init__(self, folder: Path, zone: Zone, port: int, **variables: str) -> None:
        own = {
            "LISTEN": "127.0.0.1:0",
            "LOG_FORMAT": "json",
            "VARNISH_SERVICE": f"{NAME}:{port}",
            "DNS_SERVERS": f"127.0.0.1:{zone.port}",
            "ALLOW_ANONYMOUS_PURGE": "true",
            # Once, and so without a pause: most tests purge what is there already.
            "PURGE_AGAIN_AFTER": "0s",
            # On a busy machine a Varnish takes its time.
            "ENDPOINT_TIMEOUT": "30s",
            "SHUTDOWN_GRACE": "120s",
        }
        self.process = Process([programs.BROADCASTER], folder / "broadcaster.log", env=dict(os.environ) | secrets.talkative | own | variables)
        self.url = programs.url_of(self.process)

    def purge(self, path: str = "/v1/embeddings", **headers: str) -> Answer:
        return send(self.url, "PURGE", path, headers={name.replace("_", "-"): value for name, value in headers.items()})

    def stop(self) -> None:
        programs.keep_metrics(self.process, self.url)
        self.process.stop()


class Hanging:
    """Takes connections at an address, and never answers."""

    def __init__(self, address: str, port: int) -> None:
        self._listener = socket.create_server((address, port))

    def stop(self) -> None:
        self._listener.close()

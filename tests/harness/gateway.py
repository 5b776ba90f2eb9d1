"""The gateway by itself, in front of an upstream."""

import os
from pathlib import Path

from . import programs, secrets
from .cgroup import Cgroup
from .client import Answer, send
from .processes import Process

# A caller's, where it does not matter whose.
ANY_KEY = secrets.secret("acme-1")


class Gateway:
    """One gateway. It logs all that it would ever log."""

    def __init__(self, folder: Path, upstream: str | None, within: Cgroup | None = None, **variables: str) -> None:
        folder.mkdir(parents=True)
        self.log = folder / "gateway.log"
        inherited = {"PATH": os.environ["PATH"]}
        own = {"LISTEN": "127.0.0.1:0", "LOG_FORMAT": "json"}
        # Otherwise a file names the upstreams.
        own |= {"OPENAI_BASE_URL": f"{upstream}/v1"} if upstream else {}
        # A store on a busy machine answers late, and what comes later than this is a miss.
        own["STORE_TIMEOUT"] = "30s"
        command = within.command(programs.GATEWAY) if within else [programs.GATEWAY]
        self.process = Process(command, self.log, env=inherited | secrets.talkative | own | variables)
        self.url = programs.url_of(self.process)

    def embed(self, inputs, key: str = ANY_KEY, model: str = "text-embedding-3-small", **headers: str) -> Answer:
        return send(
            self.url,
            "POST",
            "/v1/embeddings",
            {"model": model, "input": inputs, "dimensions": 8},
            {"authorization": f"Bearer {key}", "content-type": "application/json"} | headers,
        )

    def purge(self, token: str, **headers: str) -> Answer:
        return send(self.url, "PURGE", "/v1/embeddings", None, {"authorization": f"Bearer {token}"} | headers)

    def metrics(self) -> str:
        return send(self.url, "GET", "/metrics").body.decode()

    def readyz(self) -> str:
        answer = send(self.url, "GET", "/readyz")
        assert answer.status == 200
        return answer.body.decode()

    def metric(self, line: str) -> int:
        """The value of one line of /metrics, 0 if it is not there."""
        values = [found.removeprefix(line) for found in self.metrics().splitlines() if found.startswith(line)]
        return int(values[0]) if values else 0

    def stored(self, result: str, operation: str = "put") -> int:
        labels = f'{{operation="{operation}",result="{result}"}}'
        return self.metric(f"embedding_gateway_store_operations_total{labels}")

    def stop(self, timeout: float = 30) -> int:
        """SIGTERM; the exit code."""
        programs.keep_metrics(self.process, self.url)
        return self.process.terminate(timeout)

    def end(self) -> None:
        """Whatever became of it, it is gone afterwards."""
        programs.keep_metrics(self.process, self.url)
        self.process.stop()

"""One request to the product as a client outside of the cluster sends it: to a host name, on a connection of its own."""

import hashlib
import http.client
import json
import uuid
from dataclasses import dataclass

from cluster.gateway import HOST
from cluster.waiting import until

MODEL = "text-embedding-3-small"
SECONDS = 60
# A Varnish that started before the backend asks it every 5 s, and believes it after three good answers.
SERVED_SECONDS = 90
# So many bodies are on both Varnish pods.
BODIES = 12


@dataclass(frozen=True)
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def caches(self) -> list[str]:
        """The members of Cache-Status (RFC 9211), the cache nearest to the origin first."""
        return [member.strip() for member in self.headers.get("cache-status", "").split(",")]

    @property
    def from_varnish(self) -> bool:
        return "hit" in self.caches[-1] and self.caches[-1].startswith("Varnish")

    @property
    def billed(self) -> int:
        return int(self.headers["x-embedding-billed-tokens"])


def ask(method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None, host: str = HOST) -> Answer:
    connection = http.client.HTTPConnection(host, timeout=SECONDS)
    try:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        return Answer(answer.status, answer.headers, answer.read())
    finally:
        connection.close()


def body_of(text: str) -> bytes:
    return json.dumps({"model": MODEL, "input": text, "dimensions": 8}).encode()


def hash_of(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def embed(text: str, key: str, **headers: str) -> Answer:
    """An embeddings request; a name in `headers` has _ for -."""
    own = {name.replace("_", "-"): value for name, value in headers.items()}
    credential = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    return ask("POST", "/v1/embeddings", body_of(text), credential | own)


def fresh(name: str = "text") -> str:
    """What nobody has used before."""
    return f"{name} {uuid.uuid4().hex}"


def fresh_key() -> str:
    """A credential that nobody has used before."""
    return f"sk-mesh-{uuid.uuid4().hex}"


def wait_until_served() -> None:
    """Until every Varnish has found the backend."""
    key = fresh_key()
    until(lambda: all(embed(fresh(), key).status == 200 for _ in range(BODIES)), SERVED_SECONDS, "served by every Varnish")

"""One request to the product as a client outside of the cluster sends it: to a host name, on a connection of its own."""

import hashlib
import json
import uuid

from cluster.gateway import HOST
from cluster.waiting import until
from harness.client import Answer, send
from harness.secrets import secret

MODEL = "text-embedding-3-small"
# A Varnish that started before the backend asks it every second, and believes it after three good answers.
SERVED_SECONDS = 180
# Enough bodies to be on both Varnish pods.
BODIES = 12


def ask(method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None, host: str = HOST) -> Answer:
    return send(f"http://{host}", method, path, body, headers)


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
    """What no request has used before."""
    return f"{name} {uuid.uuid4().hex}"


def fresh_key() -> str:
    """A credential that no request has used before."""
    return secret("mesh")


def wait_until_served() -> None:
    """Until every Varnish has found the backend."""
    key = fresh_key()
    until(lambda: all(embed(fresh(), key).status == 200 for _ in range(BODIES)), SERVED_SECONDS, "served by every Varnish")

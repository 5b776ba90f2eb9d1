"""A client that asks as most programs do, each request on a connection of its own. For exact bytes see `http1`."""

import http
import http.client
import json
from dataclasses import dataclass
from urllib.parse import urlsplit

from . import secrets

# Longer than a busy machine takes for anything, so that a hang is a failure.
TIMEOUT_SECONDS = 60


@dataclass(frozen=True)
class Answer:
    """What came back, and what it says of the caches that it passed."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def cache_status(self) -> str:
        return self.headers.get("cache-status", "")

    @property
    def from_varnish(self) -> bool:
        return "Varnish; hit" in self.cache_status

    @property
    def billed(self) -> int:
        return int(self.headers["x-embedding-billed-tokens"])


def send(
    url: str, method: str, path: str, body: bytes | str | dict | list | None = None, headers: dict[str, str] | None = None, timeout: float = TIMEOUT_SECONDS
) -> Answer:
    """One request; a body that is no text yet is sent as JSON. Raises OSError if no whole answer comes."""
    address = urlsplit(url)
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=timeout)
    data = json.dumps(body) if isinstance(body, (dict, list)) else body
    secrets.used_in_headers(headers or {})
    try:
        connection.request(method, path, data, headers or {})
        response = connection.getresponse()
        answer = Answer(response.status, response.headers, response.read())
    except http.client.HTTPException as broken:
        raise ConnectionError(f"no whole answer: {broken!r}") from broken
    finally:
        connection.close()
    if answer.status >= http.HTTPStatus.BAD_REQUEST:
        secrets.told(f"the error {answer.status} of {method} {path}", bytes(answer.headers) + answer.body)
    return answer


def answers(url: str, path: str) -> bool:
    """Whether a server is there, and says 200."""
    try:
        return send(url, "GET", path).status == 200
    except OSError:
        return False

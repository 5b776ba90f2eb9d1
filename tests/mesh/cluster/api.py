"""The Kubernetes API, as far as these tests need it: read, watch, create, patch, delete."""

import http.client
import json
import ssl
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass

# A loaded machine's API server is slow. A watch lasts longer than any test: what happens between two of them could be missed.
CALL_SECONDS = 60
WATCH_SECONDS = 7200
JSON = "application/json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
JSON_PATCH = "application/json-patch+json"


class ApiError(Exception):
    """The API server's refusal; `status` is HTTP's."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status


@dataclass(frozen=True)
class Api:
    """An API server and the token that its caller presents."""

    host: str
    port: int
    token: str

    def get(self, path: str) -> dict:
        return self._call("GET", path)

    def items(self, path: str) -> list[dict]:
        return self.get(path)["items"]

    def create(self, path: str, body: dict) -> dict:
        return self._call("POST", path, body)

    def patch(self, path: str, body: dict | list, kind: str = MERGE_PATCH) -> dict:
        return self._call("PATCH", path, body, kind)

    def delete(self, path: str, options: dict | None = None) -> dict:
        return self._call("DELETE", path, options or {})

    def watch(self, path: str) -> Iterator[tuple[str, dict]]:
        """What is there as ADDED, then each change; ends when the server ends it, and raises OSError when it goes away."""
        listed = self.get(path)
        for item in listed["items"]:
            yield "ADDED", item
        mark = "&" if "?" in path else "?"
        version = urllib.parse.quote(listed["metadata"]["resourceVersion"])
        yield from self._events(f"{path}{mark}watch=1&timeoutSeconds={WATCH_SECONDS}&resourceVersion={version}")

    def _events(self, path: str) -> Iterator[tuple[str, dict]]:
        connection = self._connect(WATCH_SECONDS + CALL_SECONDS)
        try:
            connection.request("GET", path, headers=self._headers())
            for line in connection.getresponse():
                event = json.loads(line)
                if event["type"] == "ERROR":
                    return
                yield event["type"], event["object"]
        except http.client.HTTPException as broken:
            raise ConnectionError("the watch broke") from broken
        finally:
            connection.close()

    def _call(self, method: str, path: str, body: dict | list | None = None, kind: str = JSON) -> dict:
        connection = self._connect(CALL_SECONDS)
        try:
            data = None if body is None else json.dumps(body)
            connection.request(method, path, data, self._headers() | {"Content-Type": kind})
            answer = connection.getresponse()
            content = json.loads(answer.read())
        except http.client.HTTPException as broken:
            raise ConnectionError("no whole answer") from broken
        finally:
            connection.close()
        if answer.status >= 300:
            raise ApiError(answer.status, content.get("message", ""))
        return content

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}", "Accept": JSON}

    def _connect(self, timeout: float) -> http.client.HTTPSConnection:
        # The server signs its own certificate, and no other client is in its network.
        trusting = ssl._create_unverified_context()
        return http.client.HTTPSConnection(self.host, self.port, timeout=timeout, context=trusting)

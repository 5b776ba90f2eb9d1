"""What the origin says to which request, whatever the protocol it came in.

    /early      answers when the headers are there and reads the body afterwards
    /echo       streams the body back while it arrives
    /redirect   302 to the path in the query, e.g. /redirect?/elsewhere
    /status/N   answers with status N
    /abort      hangs up when the request is whole
    gRPC        every piece of body is sent back at once, then grpc-status 0 in the trailers
    others      200, when the request is whole

Every answer with a body of its own is the JSON of what was received. Upgrades and CONNECT get that JSON as their first line,
then an echo of every byte.
"""

import hashlib
import json
from collections import deque
from dataclasses import dataclass

from ..received import Received, values

RECORD_PATH = "/-/received"
# More requests than a test looks at in one go.
_KEPT_REQUESTS = 20_000

_record: "deque[Arriving]" = deque(maxlen=_KEPT_REQUESTS)


class Arriving:
    """A request from its first header to its end."""

    def __init__(self, protocol: str, method: str, path: str, authority: str, headers: list) -> None:
        self.seen = Received(protocol, method, path, authority, headers, 0, "", [], False)
        self._digest = hashlib.sha256()
        if path != RECORD_PATH:
            _record.append(self)

    def add(self, data: bytes) -> None:
        self.seen.length += len(data)
        self._digest.update(data)

    def finish(self, trailers: list) -> None:
        self.seen.trailers = list(trailers)
        self.seen.complete = True

    def to_json(self) -> bytes:
        self.seen.sha256 = self._digest.hexdigest()
        return json.dumps(vars(self.seen)).encode()

    @property
    def is_grpc(self) -> bool:
        return any(value.startswith("application/grpc") for value in values(self.seen.headers, "content-type"))

    @property
    def route(self) -> str:
        return self.seen.path.partition("?")[0]

    @property
    def answers_early(self) -> bool:
        return self.route == "/early"

    @property
    def echoes(self) -> bool:
        return self.is_grpc or self.route == "/echo"

    @property
    def aborts(self) -> bool:
        return self.route == "/abort"


@dataclass
class Answer:
    """A whole answer."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


def answer(request: Arriving) -> Answer:
    """The answer to a request that is not echoed."""
    if request.seen.path == RECORD_PATH:
        lines = [each.to_json() for each in _record]
        _record.clear()
        return Answer(200, [], b"\n".join(lines))
    status, headers = 200, [("content-type", "application/json")]
    if request.route == "/redirect":
        status, headers = 302, [("location", request.seen.path.partition("?")[2])]
    elif request.route.startswith("/status/"):
        status = int(request.route.rpartition("/")[2])
    return Answer(status, headers, request.to_json())

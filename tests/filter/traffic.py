"""Mixed traffic: random sizes, protocols, framings, forgeries and hang-ups on kept connections, every answer judged.

Run as a program (`python -m filter.traffic PORT REQUESTS CONNECTIONS SEED`) it prints its tally as JSON, so that a test can
spread its clients over processes.
"""

import hashlib
import json
import math
import random
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field

from harness import http1, http2
from harness.http1_wire import pieces
from harness.received import Response

from .attachments import DEFAULT_CAP, HEADER
from .expectations import body_of
from .transports import TRAILER

FORGED = (HEADER, "f" * 64)
# Sizes around every boundary, small ones most, as calls of an API are; the last is over the cap.
_SIZES = [0] * 10 + [1, 55, 56, 63, 64, 65] * 3 + [1000, 4096, 16_384, 16_385] * 8 + [65_536, 100_000, 262_144] * 2 + [DEFAULT_CAP, DEFAULT_CAP + 1]
_HANG_UP_SHARE = 0.05
_HTTP2_SHARE = 0.5
_MOST_STREAMS_AT_ONCE = 4
# Only a hang takes so long, however busy the machine: Envoy itself ends an idle stream after 5 minutes.
SLOWEST_SECONDS = 30.0


@dataclass
class Tally:
    """What became of the requests."""

    hashed: int = 0
    # Without a header although the body is one to be hashed; right only while twins are being replaced.
    passed: int = 0
    # Without a header, and rightly so.
    unhashed: int = 0
    hung_up: int = 0
    slowest: float = 0.0
    wrong: list[str] = field(default_factory=list)

    @property
    def requests(self) -> int:
        return self.hashed + self.passed + self.unhashed + self.hung_up + len(self.wrong)

    def add(self, other: "Tally") -> None:
        self.hashed += other.hashed
        self.passed += other.passed
        self.unhashed += other.unhashed
        self.hung_up += other.hung_up
        self.slowest = max(self.slowest, other.slowest)
        self.wrong += other.wrong

    def judge(self, response: Response, body: bytes, seconds: float, what: str) -> None:
        """Counts one answered request."""
        self.slowest = max(self.slowest, seconds)
        received = response.received() if response.status == 200 else None
        digest = hashlib.sha256(body).hexdigest()
        if received is None or (received.length, received.sha256) != (len(body), digest):
            self.wrong.append(f"{what}: {response.status} {response.body[:200]!r}")
        elif seconds > SLOWEST_SECONDS:
            self.wrong.append(f"{what}: took {seconds:.1f} s")
        else:
            self._judge_header(received.values(HEADER), 0 < len(body) <= DEFAULT_CAP, digest, what)

    def _judge_header(self, values: list[str], to_be_hashed: bool, digest: str, what: str) -> None:
        if values == [] and to_be_hashed:
            self.passed += 1
        elif values == []:
            self.unhashed += 1
        elif values == [digest] and to_be_hashed:
            self.hashed += 1
        else:
            self.wrong.append(f"{what}: {HEADER} {values}")


class Client:
    """One client with one connection at a time."""

    def __init__(self, port: int, seed: int) -> None:
        self._port = port
        self._random = random.Random(seed)
        self._is_http2 = self._random.random() < _HTTP2_SHARE
        self._connection = None
        self.tally = Tally()

    def run(self, goes_on: Callable[[Tally], bool]) -> Tally:
        """Sends until told to stop."""
        while goes_on(self.tally):
            turn = self._turn_http2 if self._is_http2 else self._turn_http1
            try:
                turn()
            except Exception as error:  # Whatever goes wrong with a request is a finding.
                self.tally.wrong.append(f"http{2 if self._is_http2 else 1}: {error!r}")
                self._drop()
        self._drop()
        return self.tally

    def _drop(self) -> None:
        if self._connection:
            self._connection.close()
        self._connection = None

    def _draw(self) -> tuple[bytes, list]:
        body = body_of(self._random.choice(_SIZES))
        return body, [FORGED] * self._random.randrange(3)

    def _turn_http1(self) -> None:
        self._connection = self._connection or http1.Connection(self._port)
        body, headers = self._draw()
        framing = self._random.choice(["length", "chunked", "trailers", "expect"])
        hangs_up = self._random.random() < _HANG_UP_SHARE
        begin = time.monotonic()
        self._send_http1(body, headers, framing, hangs_up)
        if hangs_up:
            self.tally.hung_up += 1
            return self._drop()
        response = self._connection.read_response("POST")
        self.tally.judge(response, body, time.monotonic() - begin, f"http1 {framing} {len(body)}")
        if ("connection", "close") in response.headers:
            self._drop()

    def _send_http1(self, body: bytes, headers: list, framing: str, hangs_up: bool) -> None:
        connection = self._connection
        if framing in ("length", "expect"):
            expect = [("Expect", "100-continue")] if framing == "expect" else []
            connection.send_head("POST", "/", [*headers, *expect, ("Content-Length", str(len(body)))])
            connection.send(body[: len(body) // 2] if hangs_up else body)
        else:
            connection.send_head("POST", "/", [*headers, ("Transfer-Encoding", "chunked")])
            parts = list(pieces(body, [self._random.randrange(1, 40_000) for _ in range(5)]))
            for part in parts[: len(parts) // 2] if hangs_up else parts:
                connection.send(b"%x\r\n%b\r\n" % (len(part), part))
            if not hangs_up:
                connection.send_chunked([], [TRAILER] if framing == "trailers" else None)

    def _turn_http2(self) -> None:
        self._connection = self._connection or http2.Connection(self._port)
        begin = time.monotonic()
        drawn = [self._draw() for _ in range(self._random.randrange(1, _MOST_STREAMS_AT_ONCE + 1))]
        bodies = {self._connection.open("POST", "/", headers): body for body, headers in drawn}
        for stream, body in bodies.items():
            self._send_part(stream, body[: len(body) // 2])
        if self._random.random() < _HANG_UP_SHARE:
            return self._leave(bodies)
        for stream, body in bodies.items():
            self._send_part(stream, body[len(body) // 2 :])
            # Trailers alone go wrong in some Envoys: test_upstream_window.py.
            if self._random.random() < 0.5 or not body:
                self._connection.data(stream, b"", end=True)
            else:
                self._connection.trailers(stream, [TRAILER])
        for stream, body in bodies.items():
            response = self._connection.response(stream)
            self.tally.judge(response, body, time.monotonic() - begin, f"http2 {len(body)}")

    def _send_part(self, stream: int, part: bytes) -> None:
        """No empty frames: Envoy closes a connection that sends several."""
        if part:
            self._connection.data(stream, part)

    def _leave(self, streams) -> None:
        """Resets every stream, or hangs up on all of them."""
        if self._random.random() < 0.5:
            for stream in streams:
                self._connection.reset(stream)
                self.tally.hung_up += 1
        else:
            self._drop()
            self.tally.hung_up += len(streams)


def run(port: int, connections: int, requests: int, seed: int) -> Tally:
    """Sends at least so many requests over so many connections and waits for all."""
    share = math.ceil(requests / connections)
    tally = Tally()
    with ThreadPoolExecutor(connections) as threads:
        clients = [Client(port, seed * 1000 + number) for number in range(connections)]
        for each in threads.map(lambda client: client.run(lambda tally: tally.requests < share), clients):
            tally.add(each)
    return tally


if __name__ == "__main__":
    print(json.dumps(asdict(run(int(sys.argv[1]), int(sys.argv[3]), int(sys.argv[2]), int(sys.argv[4])))))

"""An HTTP/1.1 client that sends exactly the bytes it is told to and reads real answers."""

import socket
import struct
from collections.abc import Iterable
from contextlib import contextmanager

from .http1_wire import END, LAST_CHUNK, chunk, head, latin1, parse_fields
from .received import Response, values

HOST = ("Host", "test.local")
# Longer than any promise that is tested, so that a hang is a failure and not a wait.
TIMEOUT_SECONDS = 30
_WITHOUT_BODY = (204, 304)


class Connection:
    """One connection to `port` on loopback."""

    def __init__(self, port: int, timeout: float = TIMEOUT_SECONDS) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._reader = self._socket.makefile("rb")

    def __enter__(self) -> "Connection":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def close(self) -> None:
        self._reader.close()
        self._socket.close()

    def abort(self) -> None:
        """Hangs up with a TCP reset."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def send_head(self, method: str, path: str = "/", headers: Iterable = (), host=HOST) -> None:
        self.send(head(latin1(method) + b" " + latin1(path) + b" HTTP/1.1", [host, *headers]))

    def send_chunked(self, parts: Iterable[bytes], trailers: Iterable | None = None) -> None:
        """The rest of a chunked request: every part a chunk, then the end."""
        last = LAST_CHUNK + (head(b"", trailers).removeprefix(END) if trailers else END)
        with _as_far_as_wanted():
            for part in parts:
                self.send(chunk(part))
            self.send(last)

    def request(self, method: str, path: str = "/", headers: Iterable = (), body: bytes | None = None) -> Response:
        """A whole request, with Content-Length when it has a body."""
        length = [] if body is None else [("Content-Length", str(len(body)))]
        with _as_far_as_wanted():
            self.send_head(method, path, [*headers, *length])
            self.send(body or b"")
        return self.read_response(method)

    def read_response(self, method: str = "GET") -> Response:
        """The next final answer."""
        interim = []
        while True:
            status, headers = self.read_head()
            if status >= 200 or status == 101:
                break
            interim.append(status)
        response = Response(status, headers, interim=interim)
        tunnel = status == 101 or (method == "CONNECT" and status == 200)
        if not tunnel and method != "HEAD" and status not in _WITHOUT_BODY:
            response.body, response.trailers = self._read_body(headers)
        return response

    def read_head(self) -> tuple[int, list]:
        """Status and headers of the next answer, interim ones too."""
        start = self._reader.readline()
        if not start:
            raise ConnectionError("closed without an answer")
        return int(start.split()[1]), self._read_fields()

    def read(self, size: int) -> bytes:
        """Exactly `size` bytes of a tunnel or a stream."""
        return self._reader.read(size)

    def read_line(self) -> bytes:
        return self._reader.readline()

    def read_chunk(self) -> bytes:
        """The next chunk of a chunked answer; empty at its end."""
        size = int(self._reader.readline().split(b";")[0], 16)
        data = self._reader.read(size)
        if size:
            self._reader.readline()
        return data

    def _read_fields(self) -> list[tuple[str, str]]:
        lines = []
        while (line := self._reader.readline()) not in (END, b""):
            lines.append(line)
        return parse_fields(lines)

    def _read_body(self, headers) -> tuple[bytes, list]:
        if values(headers, "transfer-encoding"):
            body = b"".join(iter(self.read_chunk, b""))
            return body, self._read_fields()
        length = values(headers, "content-length")
        return self._reader.read(int(length[0]) if length else -1), []


@contextmanager
def _as_far_as_wanted():
    """A server may answer before the end of a body and close: its answer says why, and is read next."""
    try:
        yield
    except (BrokenPipeError, ConnectionResetError):
        pass


def request(port: int, method: str, path: str = "/", headers: Iterable = (), body: bytes | None = None) -> Response:
    """One request on a connection of its own."""
    with Connection(port) as connection:
        return connection.request(method, path, headers, body)

"""An HTTP/2 client with prior knowledge: frames of any size, trailers, resets, extended CONNECT, true flow control."""

import socket
from collections.abc import Iterable
from dataclasses import dataclass, field

import h2.config
import h2.connection
import h2.events
import h2.exceptions
from h2.settings import SettingCodes

from .http1 import TIMEOUT_SECONDS
from .http1_wire import latin1
from .received import Response

_READ_BYTES = 65536
AUTHORITY = "test.local"


class StreamReset(Exception):
    """The server reset the stream, or closed the connection under it."""


@dataclass
class _Stream:
    headers: list | None = None
    body: bytearray = field(default_factory=bytearray)
    trailers: list = field(default_factory=list)
    interim: list[int] = field(default_factory=list)
    ended: bool = False
    reset: str | None = None


class Connection:
    """One connection to `port` on loopback, with any number of streams."""

    def __init__(self, port: int, timeout: float = TIMEOUT_SECONDS) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        config = h2.config.H2Configuration(
            header_encoding=None, validate_outbound_headers=False, normalize_outbound_headers=False, validate_inbound_headers=False
        )
        self._state = h2.connection.H2Connection(config)
        self._streams: dict[int, _Stream] = {}
        self._state.initiate_connection()
        self._state.update_settings({SettingCodes.ENABLE_PUSH: 0})
        self.flush()

    def __enter__(self) -> "Connection":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()

    def flush(self) -> None:
        self._socket.sendall(self._state.data_to_send())

    def open(
        self,
        method: str,
        path: str = "/",
        headers: Iterable = (),
        *,
        end: bool = False,
        authority: str = AUTHORITY,
        protocol: str | None = None,
        trailers: Iterable | None = None,
    ) -> int:
        """A new stream with its headers, and with trailers a whole request in one write; its number."""
        pseudo = [(":method", method), (":authority", authority)]
        if method != "CONNECT" or protocol:
            pseudo += [(":scheme", "http"), (":path", path)]
        if protocol:
            pseudo.append((":protocol", protocol))
        number = self._state.get_next_available_stream_id()
        self._streams[number] = _Stream()
        self._state.send_headers(number, _encode([*pseudo, *headers]), end_stream=end)
        if trailers is not None:
            self._state.send_headers(number, _encode(trailers), end_stream=True)
        self.flush()
        return number

    def data(self, number: int, data: bytes, *, end: bool = False, padding: int | None = None) -> None:
        """One DATA frame where it fits, else as many as flow control asks for. What the server no longer wants is left out."""
        cost = 0 if padding is None else padding + 1
        while not self._gone(number) and len(data) > (room := self._room(number) - cost):
            if room > 0:
                self._state.send_data(number, data[:room], pad_length=padding)
                data = data[room:]
                self.flush()
            else:
                self._read_events()
        if not self._gone(number):
            self._state.send_data(number, data, end_stream=end, pad_length=padding)
            self.flush()

    def trailers(self, number: int, trailers: Iterable) -> None:
        """Ends the stream with trailers, unless the server ended it already."""
        if self._gone(number):
            return
        self._state.send_headers(number, _encode(trailers), end_stream=True)
        self.flush()

    def reset(self, number: int) -> None:
        self._state.reset_stream(number)
        self.flush()

    def response(self, number: int) -> Response:
        """The answer, once the server has ended the stream."""
        self.wait(number, lambda stream: stream.ended)
        return self.so_far(number)

    def response_head(self, number: int) -> Response:
        """The answer's headers, as soon as they are there."""
        self.wait(number, lambda stream: stream.headers is not None)
        return self.so_far(number)

    def so_far(self, number: int) -> Response:
        stream = self._streams[number]
        headers = stream.headers or []
        status = int(dict(headers)[":status"])
        regular = [(name, value) for name, value in headers if not name.startswith(":")]
        return Response(status, regular, bytes(stream.body), stream.trailers, stream.interim)

    def wait(self, number: int, condition) -> None:
        """Reads until the stream fulfils the condition; StreamReset when it cannot any more."""
        stream = self._streams[number]
        while not condition(stream):
            if stream.reset is not None:
                raise StreamReset(stream.reset)
            self._read_events()

    def wait_body(self, number: int, size: int) -> None:
        self.wait(number, lambda stream: len(stream.body) >= size)

    def request(self, method: str, path: str = "/", headers: Iterable = (), body: bytes | None = None) -> Response:
        """A whole request in one DATA frame, without Content-Length."""
        number = self.open(method, path, headers, end=body is None)
        if body is not None:
            self.data(number, body, end=True)
        return self.response(number)

    def _gone(self, number: int) -> bool:
        stream = self._streams[number]
        return stream.ended or stream.reset is not None

    def _room(self, number: int) -> int:
        return min(self._state.local_flow_control_window(number), self._state.max_outbound_frame_size)

    def _read_events(self) -> None:
        received = self._socket.recv(_READ_BYTES)
        if not received:
            for stream in self._streams.values():
                stream.reset = stream.reset or (None if stream.ended else "connection closed")
            return
        for event in self._state.receive_data(received):
            self._take(event)
        self.flush()

    def _take(self, event) -> None:
        stream = self._streams.get(getattr(event, "stream_id", None))
        if isinstance(event, h2.events.ConnectionTerminated):
            for number, each in self._streams.items():
                if number > event.last_stream_id and not each.ended:
                    each.reset = f"GOAWAY {event.error_code}"
        elif stream is None:
            return
        elif isinstance(event, h2.events.InformationalResponseReceived):
            stream.interim.append(int(dict(event.headers)[b":status"]))
        elif isinstance(event, h2.events.ResponseReceived):
            stream.headers = _decode(event.headers)
        elif isinstance(event, h2.events.DataReceived):
            stream.body += event.data
            self._state.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.TrailersReceived):
            stream.trailers = _decode(event.headers)
        elif isinstance(event, h2.events.StreamEnded):
            stream.ended = True
        elif isinstance(event, h2.events.StreamReset):
            stream.reset = stream.reset or f"RST_STREAM {event.error_code}"


def _encode(pairs) -> list:
    return [(latin1(name).lower(), latin1(value)) for name, value in pairs]


def _decode(pairs) -> list:
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in pairs]


def request(port: int, method: str, path: str = "/", headers: Iterable = (), body: bytes | None = None) -> Response:
    """One request on a connection of its own."""
    with Connection(port) as connection:
        return connection.request(method, path, headers, body)

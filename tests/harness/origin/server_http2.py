"""The origin's HTTP/2 side: one state machine for each connection, answers sent as flow control allows."""

import asyncio

import h2.config
import h2.connection
import h2.events
import h2.exceptions
from h2.errors import ErrorCodes
from h2.settings import SettingCodes, Settings

from .answers import Arriving, answer

_READ_BYTES = 65536
# The client sent its first line already when the protocol was recognised.
_FIRST_LINE = b"PRI * HTTP/2.0\r\n"
# Bodies of the tests fit, so that the origin is never what slows them.
_WINDOW_BYTES = 16 << 20
_SETTINGS = {
    SettingCodes.INITIAL_WINDOW_SIZE: _WINDOW_BYTES,
    SettingCodes.MAX_CONCURRENT_STREAMS: 1000,
    SettingCodes.ENABLE_CONNECT_PROTOCOL: 1,
}


async def serve(_first: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    connection = _Connection()
    received = _FIRST_LINE
    while received:
        connection.receive(received)
        writer.write(connection.to_send())
        received = await reader.read(_READ_BYTES)


class _Outgoing:
    """What of an answer's body waits for the peer's window."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.ended = False
        self.trailers: list | None = None


class _Connection:
    def __init__(self) -> None:
        config = h2.config.H2Configuration(
            client_side=False, header_encoding="latin-1", validate_inbound_headers=False, validate_outbound_headers=False
        )
        self._state = h2.connection.H2Connection(config)
        self._state.local_settings = Settings(client=False, initial_values=_SETTINGS)
        self._state.initiate_connection()
        self._state.increment_flow_control_window(_WINDOW_BYTES)
        self._requests: dict[int, Arriving] = {}
        self._outgoing: dict[int, _Outgoing] = {}

    def receive(self, data: bytes) -> None:
        try:
            for event in self._state.receive_data(data):
                self._take_unless_reset(event)
        except h2.exceptions.ProtocolError as error:
            raise ConnectionAbortedError from error
        self._flush()

    def to_send(self) -> bytes:
        return self._state.data_to_send()

    def _take_unless_reset(self, event) -> None:
        """The state knows of a reset before the events that came with it are taken: their stream may be gone."""
        try:
            self._take(event)
        except h2.exceptions.ProtocolError:
            self._forget(event.stream_id)

    def _forget(self, number: int) -> None:
        self._requests.pop(number, None)
        self._outgoing.pop(number, None)

    def _take(self, event) -> None:
        number = getattr(event, "stream_id", None)
        if isinstance(event, h2.events.RequestReceived):
            self._begin(number, event.headers)
        elif isinstance(event, h2.events.StreamReset):
            self._forget(number)
        elif number not in self._requests:
            return
        elif isinstance(event, h2.events.DataReceived):
            self._state.acknowledge_received_data(event.flow_controlled_length, number)
            self._body(number, event.data)
        elif isinstance(event, h2.events.TrailersReceived):
            self._requests[number].finish(event.headers)
        elif isinstance(event, h2.events.StreamEnded):
            self._end(number)

    def _begin(self, number: int, headers: list) -> None:
        pseudo = {name: value for name, value in headers if name.startswith(":")}
        regular = [(name, value) for name, value in headers if not name.startswith(":")]
        request = Arriving("HTTP/2", pseudo[":method"], pseudo.get(":path", ""), pseudo.get(":authority", ""), regular)
        self._requests[number] = request
        if request.seen.method == "CONNECT":
            self._head(number, 200)
            self._outgoing[number].data += request.to_json() + b"\n"
        elif request.echoes:
            self._head(number, 200, [("content-type", "application/grpc")] if request.is_grpc else [])
        elif request.answers_early:
            self._answer(number, request)

    def _body(self, number: int, data: bytes) -> None:
        request = self._requests[number]
        request.add(data)
        if request.echoes or request.seen.method == "CONNECT":
            self._outgoing[number].data += data

    def _end(self, number: int) -> None:
        request = self._requests.pop(number)
        request.finish(request.seen.trailers)
        if request.aborts:
            self._state.reset_stream(number, ErrorCodes.INTERNAL_ERROR)
        elif request.echoes or request.seen.method == "CONNECT":
            self._outgoing[number].ended = True
            self._outgoing[number].trailers = [("grpc-status", "0")] if request.is_grpc else None
        elif not request.answers_early:
            self._answer(number, request)

    def _answer(self, number: int, request: Arriving) -> None:
        what = answer(request)
        self._head(number, what.status, what.headers)
        if request.seen.method != "HEAD":
            self._outgoing[number].data += what.body
        self._outgoing[number].ended = True

    def _head(self, number: int, status: int, headers: list = ()) -> None:
        self._state.send_headers(number, [(":status", str(status)), *headers])
        self._outgoing[number] = _Outgoing()

    def _flush(self) -> None:
        for number, outgoing in list(self._outgoing.items()):
            while outgoing.data:
                room = min(self._state.local_flow_control_window(number), self._state.max_outbound_frame_size)
                if room <= 0:
                    break
                self._state.send_data(number, bytes(outgoing.data[:room]))
                del outgoing.data[:room]
            if outgoing.ended and not outgoing.data:
                if outgoing.trailers:
                    self._state.send_headers(number, outgoing.trailers, end_stream=True)
                else:
                    self._state.end_stream(number)
                del self._outgoing[number]

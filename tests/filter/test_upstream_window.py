"""An HTTP/2 upstream whose window is full gets a request of trailers alone: some Envoys refuse it, with and without the filter."""

import socket
import threading
from collections.abc import Iterator

import h2.config
import h2.connection
import h2.events
import pytest
from harness import http2
from harness.envoy import Envoy
from harness.envoy_config import bootstrap, cluster, http_connection_manager, listener, route

from .attachments import PAIR, chain
from .transports import TRAILER

# Of a connection, before its receiver says more (RFC 9113, 6.9.2).
WINDOW_BYTES = 65_535
# Their codec ends the empty body first, and cannot send the trailers any more.
REFUSING = ("1.36.4",)
OTHER_CODEC = {"layers": [{"name": "static", "static_layer": {"envoy.reloadable_features.http2_use_oghttp2": False}}]}


class FullUpstream:
    """Takes no more than a window of the first request, and the rest when it has seen the headers of the second."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.is_full = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        try:
            self._serve(self._listener.accept()[0])
        except OSError:
            pass  # The test is over.

    def _serve(self, connection: socket.socket) -> None:
        state = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        state.initiate_connection()
        first, received = None, 0
        with connection:
            while True:
                connection.sendall(state.data_to_send())
                data = connection.recv(WINDOW_BYTES)
                if not data:
                    return
                for event in state.receive_data(data):
                    if isinstance(event, h2.events.RequestReceived):
                        if first is None:
                            first = event.stream_id
                        else:
                            for stream in (None, first):
                                state.increment_flow_control_window(WINDOW_BYTES, stream)
                    elif isinstance(event, h2.events.DataReceived):
                        received += event.flow_controlled_length
                        if received == WINDOW_BYTES:
                            self.is_full.set()
                    elif isinstance(event, h2.events.StreamEnded):
                        state.send_headers(event.stream_id, [(":status", "200")], end_stream=True)

    def stop(self) -> None:
        self._listener.close()


@pytest.fixture
def upstream() -> Iterator[FullUpstream]:
    running = FullUpstream()
    yield running
    running.stop()


def status_of_trailers_alone(upstream: FullUpstream, folder, version: str, filters: list, **more) -> int:
    listeners = [listener("main", http_connection_manager(filters, [route("upstream")]))]
    configuration = bootstrap(listeners, [cluster("upstream", upstream.port)], **more)
    with Envoy(configuration, folder, version=version) as envoy, http2.Connection(envoy.port("main")) as connection:
        first = connection.open("POST")
        connection.data(first, b"x" * (WINDOW_BYTES + 1), end=True)
        assert upstream.is_full.wait(http2.TIMEOUT_SECONDS)
        second = connection.open("POST", trailers=[TRAILER])
        status = connection.response(second).status
        assert connection.response(first).status == 200
        return status


@pytest.mark.parametrize("attachment", [None, PAIR])
def test_trailers_alone_arrive_but_for_envoys_that_refuse_them_without_the_filter_too(upstream, tmp_path, module, version, attachment):
    filters = chain(attachment, module) if attachment else []
    assert status_of_trailers_alone(upstream, tmp_path, version, filters) == (503 if version in REFUSING else 200)


def test_with_envoys_other_codec_they_arrive(upstream, tmp_path, module, version):
    assert status_of_trailers_alone(upstream, tmp_path, version, chain(PAIR, module), layered_runtime=OTHER_CODEC) == 200

"""Requests under way while a configuration, a module or a listener changes: each ends as it would have ended."""

import json
import os

import pytest
from harness import http1, http2
from harness.envoy import Envoy
from harness.envoy_config import bootstrap, cluster, http_connection_manager, listener, route
from harness.waiting import eventually

from .attachments import ATTACHMENTS, HEADER, NATIVE, PAIR, SINGLE, chain
from .discovered import changed
from .expectations import assert_arrived, assert_hashed
from .gateway import filter_stats

SHORT_MILLISECONDS, SECOND_MILLISECONDS = 300, 1000
# Longer than a listener takes to be replaced.
DRAINING_MILLISECONDS = 4000
STEPS = {
    "the_tap_is_changed": (PAIR, ["tap"], False),
    "the_gate_is_changed": (PAIR, ["gate"], False),
    "both_are_changed": (PAIR, ["tap", "gate"], False),
    "the_tap_is_replaced": (PAIR, ["tap"], True),
    "the_gate_is_replaced": (PAIR, ["gate"], True),
    "both_are_replaced": (PAIR, ["gate", "tap"], True),
    "single_is_changed": (SINGLE, [SINGLE], False),
    "single_is_replaced": (SINGLE, [SINGLE], True),
    "native_is_changed": (NATIVE, [NATIVE], False),
    "native_is_replaced": (NATIVE, [NATIVE], True),
}


@pytest.fixture(params=STEPS)
def step(request, module, new_module):
    attachment, roles, replaces = STEPS[request.param]
    new = new_module(attachment) if replaces else module
    return attachment, lambda filters, *stall: [filters.update(changed(role, new, *stall)) for role in roles]


def test_a_request_held_during_an_update_ends_right(discovered, step):
    attachment, update = step
    filters = discovered(attachment)
    gateway = filters.gateway
    with http1.Connection(gateway.port) as one, http2.Connection(gateway.port) as two:
        one.send_head("POST", "/", [(HEADER, "forged"), ("Content-Length", "10")])
        one.send(b"whole")
        stream = two.open("POST", "/", [(HEADER, "forged")])
        two.data(stream, b"whole")
        gateway.holds(2)
        update(filters)
        one.send(b" body")
        two.data(stream, b" body", end=True)
        for response in (one.read_response(), two.response(stream)):
            assert_hashed(response, b"whole body")
    gateway.holds(0)


def test_a_request_that_stalls_during_an_update_is_let_go(discovered, step):
    attachment, update = step
    filters = discovered(attachment, configuration={"stallTimeout": SECOND_MILLISECONDS})
    with filters.gateway.counting() as counted, http1.Connection(filters.gateway.port) as connection:
        connection.send_head("POST", "/early", [("Content-Length", "10")])
        connection.send(b"half")
        # A busy Envoy may read the request after the update: it stalls for as long by the new configuration.
        update(filters, SECOND_MILLISECONDS)
        assert connection.read_response().received().values(HEADER) == []
    # A native configuration takes its counters with it.
    assert attachment == NATIVE or counted == {"skipped.stalled": 1}
    filters.gateway.holds(0)


def test_a_request_that_stalls_after_an_update_is_let_go(discovered, step):
    attachment, update = step
    filters = discovered(attachment, configuration={"stallTimeout": SHORT_MILLISECONDS})
    for _ in range(3):
        update(filters, SHORT_MILLISECONDS)
        with http1.Connection(filters.gateway.port) as connection:
            connection.send_head("POST", "/early", [("Content-Length", "10")])
            assert connection.read_response().received().values(HEADER) == []
        received = assert_arrived(http1.request(filters.gateway.port, "POST", body=b"body"), b"body")
        assert received.values(HEADER) in ([], [received.sha256])
    filters.gateway.holds(0)


def test_a_client_that_hangs_up_during_an_update_leaves_nothing_held(discovered, step):
    attachment, update = step
    filters = discovered(attachment)
    with http1.Connection(filters.gateway.port) as connection:
        connection.send_head("POST", "/", [("Content-Length", "10")])
        filters.gateway.holds(1)
        update(filters)
    filters.gateway.holds(0)


@pytest.mark.parametrize("attachment", ATTACHMENTS)
def test_a_listener_that_is_replaced_finishes_what_it_holds(module, origin, tmp_path, attachment):
    """LDS from a file: the old listener drains, the new one has its own filters."""

    def move_in(**configuration) -> None:
        filters = chain(attachment, module, stallTimeout=DRAINING_MILLISECONDS, **configuration)
        manager = http_connection_manager(filters, [route("origin")])
        resource = {"@type": "type.googleapis.com/envoy.config.listener.v3.Listener", **listener("main", manager)}
        (tmp_path / "unfinished").write_text(json.dumps({"resources": [resource]}))
        os.replace(tmp_path / "unfinished", tmp_path / "listeners.json")

    move_in()
    lds = {"resource_api_version": "V3", "path_config_source": {"path": str(tmp_path / "listeners.json")}}
    configuration = bootstrap(clusters=[cluster("origin", origin.port)], dynamic_resources={"lds_config": lds})
    with Envoy(configuration, tmp_path) as envoy:
        port = envoy.port("main")
        with http1.Connection(port) as held, http1.Connection(port) as stalled:
            held.send_head("POST", "/", [("Content-Length", "10")])
            stalled.send_head("POST", "/early", [("Content-Length", "10")])
            eventually(lambda: filter_stats(envoy)["held"] == 2)
            move_in(header="x-other")
            eventually(lambda: envoy.stats("listener_manager.")["listener_modified"] == 1)
            eventually(lambda: envoy.stats("listener_manager.")["total_listeners_warming"] == 0)
            assert_hashed(http1.request(envoy.port("main"), "POST", body=b"new"), b"new", header="x-other")
            held.send(b"whole body")
            assert_hashed(held.read_response(), b"whole body")
            assert stalled.read_response().received().values(HEADER) == []
        eventually(lambda: filter_stats(envoy)["held"] == 0)

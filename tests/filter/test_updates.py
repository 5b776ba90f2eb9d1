"""Configurations and modules that change under traffic: no error, no hang, no wrong hash; and right again afterwards."""

import itertools
import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from harness import http1, http2
from harness.envoy import Envoy
from harness.envoy_config import bootstrap, cluster, http_connection_manager, listener, route
from harness.waiting import eventually

from .attachments import ATTACHMENTS, DEFAULT_STALL_SECONDS, HEADER, PAIR, SINGLE, chain, member, room
from .discovered import DiscoveredFilters
from .expectations import assert_arrived, assert_hashed, assert_unhashed, body_of
from .modules import another_build
from .traffic import Client, Tally

CLIENTS = 8
WORKERS = 2
SHORT_MILLISECONDS = 300
# Enough that every client has sent something between two updates.
REQUESTS_BETWEEN = 150
_numbers = itertools.count(2000)


@pytest.fixture
def new_module(module, tmp_path):
    """Makes a build that Envoy takes for another module, each time another one."""
    return lambda: another_build(module, tmp_path / f"filter-{next(_numbers)}.wasm")


@pytest.fixture
def discovered(module, origin, version, tmp_path):
    """Starts the filters of an attachment as discovered ones."""
    running = []

    def start(attachment: str, *, configuration=None, **options) -> DiscoveredFilters:
        members = chain(attachment, module, **(configuration or {}))
        filters = DiscoveredFilters(members, tmp_path, origin, version=version, **options, **room(attachment, version))
        running.append(filters)
        return filters

    yield start
    for each in running:
        each.gateway.stop()


def changed(role: str, module, stall_milliseconds: int = 1000) -> dict:
    """The member with a configuration that no member had before and that means the same to the traffic."""
    return member(role, module, stallTimeout=stall_milliseconds + next(_numbers) % 100)


class Traffic:
    """Clients that go on until the block ends."""

    def __init__(self, port: int) -> None:
        self._clients = [Client(port, seed) for seed in range(CLIENTS)]
        self._stopped = False
        self.total = Tally()

    def goes_on(self, _: Tally) -> bool:
        return not self._stopped

    def flows(self) -> None:
        """Waits until many more requests have been sent."""
        goal = self._sent() + REQUESTS_BETWEEN
        eventually(lambda: self._sent() > goal, timeout=30, what="traffic to go on")

    def _sent(self) -> int:
        return sum(client.tally.requests for client in self._clients)

    @contextmanager
    def flowing(self):
        with ThreadPoolExecutor(CLIENTS) as threads:
            runs = [threads.submit(client.run, self.goes_on) for client in self._clients]
            try:
                yield
            finally:
                self._stopped = True
        for run in runs:
            self.total.add(run.result())


def test_the_pair_is_changed_and_replaced_under_traffic(discovered, module, new_module):
    filters = discovered(PAIR, concurrency=WORKERS)
    gateway, old = filters.gateway, module
    traffic = Traffic(gateway.port)
    with traffic.flowing():
        traffic.flows()
        for first, second in (("tap", "gate"), ("gate", "tap")):
            new = new_module()
            for step in (changed(first, old), changed(second, old), changed(first, new), changed(second, new)):
                filters.update(step)
                traffic.flows()
            old = new
    assert traffic.total.wrong == []
    assert traffic.total.hashed > 500 and traffic.total.passed > 0
    gateway.holds(0)
    assert_hashed(http1.request(gateway.port, "POST", body=b"after"), b"after")


def test_the_pair_stays_whole_while_only_configurations_change(discovered, module):
    """One module, one VM: no request of it loses its twin, whichever twin is new."""
    filters = discovered(PAIR, concurrency=WORKERS)
    traffic = Traffic(filters.gateway.port)
    with filters.gateway.counting() as counted, traffic.flowing():
        for turn in range(10):
            filters.update(changed(("tap", "gate")[turn % 2], module))
            traffic.flows()
    assert traffic.total.wrong == []
    assert (traffic.total.passed, counted.get("skipped.twin_absent", 0)) == (0, 0)
    filters.gateway.holds(0)


def test_single_is_changed_and_replaced_under_traffic(discovered, module, new_module):
    filters = discovered(SINGLE, concurrency=WORKERS)
    traffic = Traffic(filters.gateway.port)
    with traffic.flowing():
        for step in (changed(SINGLE, module), changed(SINGLE, new_module()), changed(SINGLE, module), changed(SINGLE, new_module())):
            traffic.flows()
            filters.update(step)
        traffic.flows()
    assert (traffic.total.wrong, traffic.total.passed) == ([], 0)
    filters.gateway.holds(0)


@pytest.mark.parametrize("attachment", ATTACHMENTS)
def test_a_bad_update_is_refused_and_the_old_configuration_goes_on(discovered, module, attachment):
    filters = discovered(attachment, concurrency=WORKERS)
    traffic = Traffic(filters.gateway.port)
    with traffic.flowing():
        for each in chain(attachment, module):
            filters.update_refused(member(each["name"], module, maxBodyBytes=0))
            traffic.flows()
    assert (traffic.total.wrong, traffic.total.passed) == ([], 0)
    for each in chain(attachment, module):
        filters.update(changed(each["name"], module))
    assert_hashed(http1.request(filters.gateway.port, "POST", body=b"after"), b"after")


STEPS = {
    "the_tap_is_changed": (PAIR, ["tap"], False),
    "the_gate_is_changed": (PAIR, ["gate"], False),
    "both_are_changed": (PAIR, ["tap", "gate"], False),
    "the_tap_is_replaced": (PAIR, ["tap"], True),
    "the_gate_is_replaced": (PAIR, ["gate"], True),
    "both_are_replaced": (PAIR, ["gate", "tap"], True),
    "single_is_changed": (SINGLE, [SINGLE], False),
    "single_is_replaced": (SINGLE, [SINGLE], True),
}


@pytest.fixture(params=STEPS)
def step(request, module, new_module):
    attachment, roles, replaces = STEPS[request.param]
    new = new_module() if replaces else module
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
    filters = discovered(attachment)
    with http1.Connection(filters.gateway.port) as connection:
        connection.send_head("POST", "/early", [("Content-Length", "10")])
        connection.send(b"half")
        filters.gateway.holds(1)
        update(filters)
        begin = time.monotonic()
        assert connection.read_response().received().values(HEADER) == []
        assert time.monotonic() - begin < DEFAULT_STALL_SECONDS + 1
    filters.gateway.holds(0)


def test_a_request_that_stalls_after_an_update_is_let_go(discovered, step):
    attachment, update = step
    filters = discovered(attachment, configuration={"stallTimeout": SHORT_MILLISECONDS})
    for _ in range(3):
        update(filters, SHORT_MILLISECONDS)
        with http1.Connection(filters.gateway.port) as connection:
            connection.send_head("POST", "/early", [("Content-Length", "10")])
            begin = time.monotonic()
            assert connection.read_response().received().values(HEADER) == []
            assert time.monotonic() - begin < SHORT_MILLISECONDS / 1000 + 1
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


def test_between_the_replacement_of_one_twin_and_of_the_other_nothing_is_hashed_or_held(discovered, module, new_module):
    filters = discovered(PAIR)
    gateway, new = filters.gateway, new_module()
    for first, second in (("tap", "gate"), ("gate", "tap")):
        filters.update(changed(first, new))
        with gateway.counting() as counted:
            for client in (http1, http2):
                for size in (1, 70_000, 2 << 20):
                    begin = time.monotonic()
                    assert_unhashed(client.request(gateway.port, "POST", "/", [(HEADER, "forged")], body_of(size)), body_of(size))
                    assert time.monotonic() - begin < DEFAULT_STALL_SECONDS / 2
        assert counted.get("skipped.twin_absent", 0) >= 4 and "hashed" not in counted
        filters.update(changed(second, new))
        assert_hashed(http1.request(gateway.port, "POST", body=b"whole"), b"whole")
        new = new_module()


def test_replaced_modules_do_not_pile_up(discovered, module, new_module):
    filters = discovered(PAIR)
    vms = lambda: filters.gateway.envoy.stats("wasm.envoy.wasm.runtime.v8.")["active"]
    before = vms()
    for _ in range(5):
        new = new_module()
        for role in ("tap", "gate"):
            filters.update(changed(role, new))
            assert_arrived(http1.request(filters.gateway.port, "POST", body=b"body"), b"body")
    eventually(lambda: vms() <= before, timeout=10, what=f"VMs of replaced modules to end; {before} before")


@pytest.mark.parametrize("attachment", ATTACHMENTS)
def test_a_listener_that_is_replaced_finishes_what_it_holds(module, origin, tmp_path, attachment):
    """LDS from a file: the old listener drains, the new one has its own filters."""

    def move_in(**configuration) -> None:
        filters = chain(attachment, module, **configuration)
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
            eventually(lambda: envoy.stats("wasmcustom.body_hash.")["held"] == 2)
            move_in(header="x-other")
            eventually(lambda: envoy.stats("listener_manager.")["listener_modified"] == 1)
            eventually(lambda: envoy.stats("listener_manager.")["total_listeners_warming"] == 0)
            assert_hashed(http1.request(envoy.port("main"), "POST", body=b"new"), b"new", header="x-other")
            held.send(b"whole body")
            assert_hashed(held.read_response(), b"whole body")
            assert stalled.read_response().received().values(HEADER) == []
        eventually(lambda: envoy.stats("wasmcustom.body_hash.")["held"] == 0)

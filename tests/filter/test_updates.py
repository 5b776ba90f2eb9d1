"""Configurations and modules that change under traffic: no error, no hang, no wrong hash, and right again afterwards."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from harness import http1, http2
from harness.waiting import eventually

from .attachments import ATTACHMENTS, HEADER, NATIVE, PAIR, SINGLE, chain, member
from .discovered import changed
from .expectations import assert_arrived, assert_hashed, assert_unhashed, body_of
from .traffic import Client, Tally

CLIENTS = 8
WORKERS = 2
# Enough that every client has sent something between two updates.
REQUESTS_BETWEEN = 150


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
        eventually(lambda: self._sent() > goal, timeout=60, what="traffic to go on")

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


@pytest.mark.parametrize("alone", [SINGLE, NATIVE])
def test_a_filter_alone_is_changed_and_replaced_under_traffic(discovered, module, new_module, alone):
    filters = discovered(alone, concurrency=WORKERS)
    traffic = Traffic(filters.gateway.port)
    with traffic.flowing():
        for build in (module, new_module(alone), module, new_module(alone)):
            traffic.flows()
            filters.update(changed(alone, build))
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


def test_between_the_replacement_of_one_twin_and_of_the_other_nothing_is_hashed_or_held(discovered, module, new_module):
    filters = discovered(PAIR)
    gateway, new = filters.gateway, new_module()
    for first, second in (("tap", "gate"), ("gate", "tap")):
        filters.update(changed(first, new))
        with gateway.counting() as counted:
            for client in (http1, http2):
                for size in (1, 70_000, 2 << 20):
                    assert_unhashed(client.request(gateway.port, "POST", "/", [(HEADER, "forged")], body_of(size)), body_of(size))
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
    eventually(lambda: vms() <= before, what=f"VMs of replaced modules to end; {before} before")

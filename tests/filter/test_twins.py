"""The pair when it is no pair: whatever stands in the chain, no request hangs, no forged header passes and no hash is
wrong."""

import pytest
from harness import http1, http2
from harness.envoy import Envoy
from harness.envoy_config import bootstrap, cluster, http_connection_manager, http_filter, listener, route

from .attachments import HEADER, PAIR, SINGLE, chain, member
from .expectations import assert_arrived, assert_hashed, assert_unhashed, body_of
from .modules import another_build
from .transports import TRANSPORTS

FORGED = [(HEADER, "f" * 64)]
# So long that a request which waits for a twin that is not there fails its test.
PATIENT = {"stallTimeout": 3_600_000}
BUFFER = http_filter("buffer.v3.Buffer", max_request_bytes=8 << 20)
DELAY = http_filter("fault.v3.HTTPFault", delay={"fixed_delay": "0.05s", "percentage": {"numerator": 100}})


@pytest.fixture(scope="session")
def other_module(module, tmp_path_factory):
    """A build of the filter that Envoy takes for another module."""
    return another_build(module, tmp_path_factory.mktemp("module") / "other.wasm")


def assert_unhashed_by_every_transport(gateway) -> None:
    for transport in TRANSPORTS.values():
        assert_unhashed(transport(gateway.port, b"body", FORGED), b"body")
    assert_unhashed(http1.request(gateway.port, "GET", headers=FORGED))
    assert gateway.held() == 0


def assert_hashed_by_every_transport(gateway) -> None:
    for transport in TRANSPORTS.values():
        for size in (0, 1, 70_000):
            body = body_of(size)
            (assert_hashed if size else assert_unhashed)(transport(gateway.port, body, FORGED), body)
    assert gateway.held() == 0


def test_a_gate_alone_lets_everything_go(start, module):
    gateway = start([member("gate", module, **PATIENT)])
    with gateway.counting() as counted:
        assert_unhashed_by_every_transport(gateway)
    assert counted == {"skipped.twin_absent": len(TRANSPORTS), "skipped.no_body": 1}


def test_a_tap_alone_lets_everything_go(start, module):
    assert_unhashed_by_every_transport(start([member("tap", module, **PATIENT)]))


def test_twins_in_the_wrong_order_let_everything_go(start, module):
    assert_unhashed_by_every_transport(start([member("gate", module, **PATIENT), member("tap", module, **PATIENT)]))


@pytest.mark.parametrize("vm_id", ["body-hash", ""])
def test_a_twin_of_another_module_is_no_twin(start, module, other_module, vm_id):
    twins = [member("tap", other_module, vm_id=vm_id, **PATIENT), member("gate", module, vm_id=vm_id, **PATIENT)]
    gateway = start(twins)
    with gateway.counting() as counted:
        assert_unhashed_by_every_transport(gateway)
    assert counted == {"skipped.twin_absent": len(TRANSPORTS), "skipped.no_body": 1}


def test_a_twin_of_another_vm_is_no_twin(start, module):
    assert_unhashed_by_every_transport(start([member("tap", module, vm_id="a", **PATIENT), member("gate", module, vm_id="b", **PATIENT)]))


def test_twins_without_vm_id_and_root_id_find_each_other(start, module):
    """The shape in which a control plane writes two plugins that say nothing but their configuration."""
    twins = chain(PAIR, module)
    for twin in twins:
        twin["typed_config"]["config"].update(root_id="", vm_config={**twin["typed_config"]["config"]["vm_config"], "vm_id": ""})
    assert_hashed_by_every_transport(start(twins))


@pytest.mark.parametrize("between", [BUFFER, DELAY], ids=["buffer", "delay"])
def test_a_filter_between_that_holds_the_request_does_not_matter(start, module, between):
    gateway = start(chain(PAIR, module, between=[between], **PATIENT))
    with gateway.counting() as counted:
        assert_hashed_by_every_transport(gateway)
    assert counted == {"hashed": 2 * len(TRANSPORTS), "skipped.no_body": len(TRANSPORTS)}


@pytest.mark.parametrize("size", [1 << 20, (1 << 20) + 1, 5 << 20])
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_buffer_between_obeys_the_cap(start, module, transport, size):
    gateway = start(chain(PAIR, module, between=[BUFFER], **PATIENT))
    body = body_of(size)
    (assert_hashed if size <= 1 << 20 else assert_unhashed)(TRANSPORTS[transport](gateway.port, body, FORGED), body)


@pytest.mark.parametrize("place", ["before", "behind"])
def test_a_buffer_outside_the_filter_does_not_matter(start, module, attachment, place):
    filters = chain(attachment, module, **PATIENT)
    assert_hashed_by_every_transport(start([BUFFER, *filters] if place == "before" else [*filters, BUFFER]))


def test_a_client_that_hangs_up_between_the_twins_leaves_nothing(start, module):
    gateway = start(chain(PAIR, module, between=[DELAY], **PATIENT))
    for turn in range(20):
        with http1.Connection(gateway.port) as connection:
            connection.send_head("POST", "/", [("Content-Length", "10")])
            connection.send(b"body" if turn % 2 else b"whole body")
    assert_hashed(http1.request(gateway.port, "POST", body=b"next"), b"next")
    gateway.holds(0)


def test_more_members_than_needed_hang_no_request(start, module):
    tap, gate = chain(PAIR, module, **PATIENT)
    for filters in ([tap, tap, gate], [tap, gate, gate], [tap, gate, tap, gate], [gate, tap, gate], [tap, gate, member("single", module)]):
        named = [{**each, "name": f"{each['name']}-{place}"} for place, each in enumerate(filters)]
        gateway = start(named)
        for transport in TRANSPORTS.values():
            assert_hashed(transport(gateway.port, b"body", FORGED), b"body")
        gateway.holds(0)


def test_twins_with_different_caps_obey_the_smaller(start, module):
    # The last transport sends the body and its end at once: the end is the first that the twins see.
    transports = [*TRANSPORTS.values(), lambda port, body: http2.request(port, "POST", body=body)]
    for tap_cap, gate_cap in ((10, 20), (20, 10)):
        gateway = start([member("tap", module, maxBodyBytes=tap_cap, **PATIENT), member("gate", module, maxBodyBytes=gate_cap, **PATIENT)])
        for transport in transports:
            assert_hashed(transport(gateway.port, b"x" * 10), b"x" * 10)
            for size in (11, 20, 21):
                assert_unhashed(transport(gateway.port, b"x" * size), b"x" * size)


def test_twins_that_select_differently_hang_no_request(start, module):
    for tap_prefix, gate_prefix in (("/a", "/"), ("/", "/a"), ("/a", "/b")):
        tap = member("tap", module, pathPrefixes=[tap_prefix], **PATIENT)
        gateway = start([tap, member("gate", module, pathPrefixes=[gate_prefix], **PATIENT)])
        for client in (http1, http2):
            for path in ("/a", "/b"):
                received = assert_arrived(client.request(gateway.port, "POST", path, FORGED, b"body"), b"body")
                assert received.values(HEADER) == [] or (path.startswith(tap_prefix) and path.startswith(gate_prefix))
        gateway.holds(0)


def test_twins_with_different_headers_pass_no_forgery_of_either(start, module):
    gateway = start([member("tap", module, header="x-tap", **PATIENT), member("gate", module, header="x-gate", **PATIENT)])
    forged = [("x-tap", "f"), ("x-gate", "f")]
    received = assert_hashed(http1.request(gateway.port, "POST", "/", forged, b"body"), b"body", header="x-gate")
    assert received.values("x-tap") == []


@pytest.fixture
def two_listeners(origin, version, tmp_path):
    """Starts an Envoy with the listeners `one` and `two`, each with filters of its own."""
    running = []

    def begin(one, two) -> Envoy:
        listeners = [listener(name, http_connection_manager(filters, [route("origin")])) for name, filters in (("one", one), ("two", two))]
        running.append(Envoy(bootstrap(listeners, [cluster("origin", origin.port)]), tmp_path, version=version))
        return running[-1]

    yield begin
    for each in running:
        each.stop()


def test_pairs_of_one_module_on_one_envoy_keep_apart(two_listeners, module):
    """Two listeners, one VM: each keeps its own header, cap and time limit."""
    one = chain(PAIR, module, header="x-one", maxBodyBytes=10, stallTimeout=60_000)
    two = [member(role, module, name=f"{role}-two", header="x-two", maxBodyBytes=1000, stallTimeout=200) for role in ("tap", "gate")]
    envoy = two_listeners(one, two)
    for transport in TRANSPORTS.values():
        assert_hashed(transport(envoy.port("one"), b"x" * 10), b"x" * 10, header="x-one")
        assert_unhashed(transport(envoy.port("one"), b"x" * 11), b"x" * 11, header="x-one")
        assert_hashed(transport(envoy.port("two"), b"x" * 11), b"x" * 11, header="x-two")
    with http1.Connection(envoy.port("one")) as patient, http1.Connection(envoy.port("two")) as hasty:
        for connection in (patient, hasty):
            connection.send_head("POST", "/early", [("Content-Length", "5")])
        assert hasty.read_response().received().values("x-two") == []
        assert envoy.stats("wasmcustom.body_hash.")["held"] == 1
        patient.send(b"whole")
        assert patient.read_response().received().values("x-one") != []


def test_a_tap_of_another_vm_is_never_mistaken_for_one_of_this_vm(two_listeners, module, other_module):
    """Each VM numbers its streams from the start, so sooner or later two taps in two VMs bear the same number."""
    torn = [member("tap", other_module, **PATIENT), member("gate", module, **PATIENT)]
    whole = [member(role, module, name=f"{role}-two", **PATIENT) for role in ("tap", "gate")]
    envoy = two_listeners(torn, whole)
    for _ in range(20):  # The VM of the whole pair is well ahead in its numbers,
        assert_hashed(http1.request(envoy.port("two"), "POST", body=b"body"), b"body")
    with http1.Connection(envoy.port("two")) as held:
        held.send_head("POST", "/", [("Content-Length", "10")])
        held.send(b"whole")
        for _ in range(100):  # and the other VM passes the number of the tap that now waits.
            assert_unhashed(http1.request(envoy.port("one"), "POST", "/", FORGED, b"body"), b"body")
        held.send(b" body")
        assert_hashed(held.read_response(), b"whole body")


@pytest.mark.parametrize("flagged", [["tap"], ["gate"], ["tap", "gate"]], ids="-and-".join)
def test_the_flag_of_single_on_the_twins_changes_nothing(start, module, flagged):
    twins = chain(PAIR, module)
    for twin in twins:
        twin["typed_config"]["config"]["allow_on_headers_stop_iteration"] = twin["name"] in flagged
    assert_hashed_by_every_transport(start(twins))


def test_single_without_its_flag_lets_everything_go_after_its_time_limit(start, module):
    """Envoy before 1.35, or a control plane that does not know the flag: no body is ever shown to the filter."""
    single = chain(SINGLE, module, stallTimeout=200)
    del single[0]["typed_config"]["config"]["allow_on_headers_stop_iteration"]
    gateway = start(single)
    for transport in TRANSPORTS.values():
        for size in (1, 2 << 20):
            assert_unhashed(transport(gateway.port, body_of(size), FORGED), body_of(size))
    assert gateway.held() == 0

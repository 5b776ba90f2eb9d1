"""What only the native module can do wrong: Envoy's buffer limits, its own threads, the mapping of its code, panics."""

import re
import subprocess
from pathlib import Path

import pytest
from harness import http1, http2, paths
from harness.envoy import Envoy, Refused
from harness.waiting import eventually

from .attachments import HEADER, NATIVE, chain, member
from .discovered import changed
from .expectations import assert_arrived, assert_hashed, assert_unhashed, body_of
from .gateway import Gateway
from .test_neighbours import BUFFERING, PATIENT, assert_answered
from .transports import TRANSPORTS

KI, MI = 1 << 10, 1 << 20
FORGED = [(HEADER, "f" * 64)]
# Of listeners. 0 is none.
LIMITS = (0, 16 * KI, 64 * KI, MI, 4 * MI)
BUILD_SECONDS = 300
# The watchdog's thread: one for each configuration.
THREAD = "body-hash"


def threads(envoy: Envoy) -> int:
    """The watchdogs of this Envoy."""
    tasks = Path(f"/proc/{envoy.process.pid}/task").glob("*/comm")
    return [task.read_text().strip() for task in tasks].count(THREAD)


def mapped(envoy: Envoy) -> set[str]:
    """The builds of the module that are in Envoy's memory."""
    return set(re.findall(r"libbody_hash_filter\w*\.so", Path(f"/proc/{envoy.process.pid}/maps").read_text()))


@pytest.mark.parametrize("limit", LIMITS)
@pytest.mark.parametrize("cap", [40 * KI, 2 * MI])
def test_every_body_up_to_the_cap_is_hashed_whatever_the_listeners_limit(start, native_module, limit, cap):
    gateway = start(chain(NATIVE, native_module, maxBodyBytes=cap, **PATIENT), listener_options={"per_connection_buffer_limit_bytes": limit})
    for transport in TRANSPORTS.values():
        for size in (1, cap - 1, cap):
            assert_hashed(transport(gateway.port, body_of(size), FORGED), body_of(size))
        for size in (cap + 1, 2 * cap + 1):
            assert_unhashed(transport(gateway.port, body_of(size), FORGED), body_of(size))
    gateway.holds(0)


@pytest.mark.parametrize("limit", LIMITS)
def test_without_raising_the_limit_a_body_over_it_goes_on_unhashed(start, native_module, limit):
    filters = chain(NATIVE, native_module, raiseBufferLimit=False, **PATIENT)
    gateway = start(filters, listener_options={"per_connection_buffer_limit_bytes": limit})
    most = min(limit or MI, MI)
    for name, transport in TRANSPORTS.items():
        for size in (1, most - 1, most, most + 1, 2 * MI):
            response = transport(gateway.port, body_of(size), FORGED)
            # The limit of an HTTP/2 stream is its window, which is larger.
            if size <= most:
                assert_hashed(response, body_of(size))
            elif "http2" in name and size <= MI:
                assert assert_arrived(response, body_of(size)).values(HEADER) != [FORGED[0][1]]
            else:
                assert_unhashed(response, body_of(size))
    gateway.holds(0)


@pytest.mark.parametrize("raises", [True, False])
@pytest.mark.parametrize("neighbour", BUFFERING)
def test_a_small_listener_and_a_filter_behind_that_buffers_leave_no_body_without_an_answer(start, native_module, neighbour, raises):
    filters = [*chain(NATIVE, native_module, raiseBufferLimit=raises, **PATIENT), BUFFERING[neighbour]]
    gateway = start(filters, listener_options={"per_connection_buffer_limit_bytes": 16 * KI})
    for transport in TRANSPORTS.values():
        for size in (10 * KI, 100 * KI, MI + 1):
            json_body = [*FORGED, ("Content-Type", "application/json")]
            assert_answered(transport(gateway.port, body_of(size), json_body), body_of(size))
    gateway.holds(0)


@pytest.mark.parametrize("neighbour", ["buffer", "small_buffer", "lua"])
def test_a_filter_before_that_buffers_hands_on_the_whole_body_at_once(start, native_module, neighbour):
    gateway = start([BUFFERING[neighbour], *chain(NATIVE, native_module, maxBodyBytes=50 * KI, **PATIENT)])
    for transport in TRANSPORTS.values():
        for size in (1, 50 * KI, 60 * KI):
            right = assert_hashed if size <= 50 * KI else assert_unhashed
            right(transport(gateway.port, body_of(size), FORGED), body_of(size))


@pytest.mark.parametrize("text", ['{"role":"single"}', '{"raiseBufferLimit":"yes"}', "{", '{"maxBodyBytes":0}'])
def test_the_reason_of_a_refusal_is_in_the_log_before_envoys_own_line(origin, tmp_path, native_module, text):
    filters = chain(NATIVE, native_module)
    filters[0]["typed_config"]["filter_config"]["value"] = text
    with pytest.raises(Refused) as refused:
        Gateway(filters, origin, tmp_path).stop()
    reason = r"\[error\].*body-hash: configuration refused: (role|raiseBufferLimit|maxBodyBytes|the configuration is not JSON)"
    assert re.search(rf"{reason}(?s:.*)Failed to (create|initialize)", str(refused.value)), refused.value


def test_statistics_have_tidy_names(start, native_module):
    gateway = start(chain(NATIVE, native_module, header="x-counted"))
    http1.request(gateway.port, "POST", body=b"body")
    http1.request(gateway.port, "GET")
    page = gateway.envoy.get("/stats/prometheus?filter=body_hash")
    told = re.findall(r"^(?:envoy_)?(body_hash_\w+)(\{.*\}) (\d+)$", page, re.MULTILINE)
    assert sorted(told) == [
        ("body_hash_hashed", "{}", "1"),
        ("body_hash_held", "{}", "0"),
        ("body_hash_skipped", '{reason="no_body"}', "1"),
    ]


def test_a_configuration_that_is_replaced_leaves_no_thread(discovered, native_module, new_module):
    filters = discovered(NATIVE)
    envoy = filters.gateway.envoy
    for turn in range(6):
        filters.update(changed(NATIVE, new_module(NATIVE) if turn % 2 else native_module))
        assert_hashed(http1.request(filters.gateway.port, "POST", body=b"body"), b"body")
    eventually(lambda: threads(envoy) == 1, what="the threads of replaced configurations to end")
    for wrong in (0, -1, -2):
        filters.update_refused(member(NATIVE, native_module, maxBodyBytes=wrong))
    assert threads(envoy) == 1


def test_a_module_is_unloaded_with_its_last_configuration_and_loaded_again(discovered, native_module, new_module):
    """A request of the old module ends first."""
    filters, other = discovered(NATIVE), new_module(NATIVE)
    envoy, port = filters.gateway.envoy, filters.gateway.port
    for old, new in [(native_module, other), (other, native_module)] * 2:
        with http1.Connection(port) as held:
            held.send_head("POST", "/", [("Content-Length", "4")])
            filters.gateway.holds(1)
            filters.update(changed(NATIVE, new))
            assert_hashed(http1.request(port, "POST", body=b"body"), b"body")
            assert mapped(envoy) == {old.name, new.name}
            held.send(b"body")
            assert_hashed(held.read_response(), b"body")
        eventually(lambda new=new: mapped(envoy) == {new.name}, what="the other module to be unloaded")
    eventually(lambda: threads(envoy) == 1, what="the threads of unloaded modules to end")


@pytest.fixture(scope="module")
def panicking_module(tmp_path_factory) -> Path:
    """A build that panics where the client asks it to."""
    target = paths.ROOT / "target/panics"
    command = ["cargo", "build", "--locked", "--quiet", "--package", "body-hash-filter-native", "--features", "panics"]
    subprocess.run([*command, "--target-dir", target], cwd=paths.ROOT, check=True, timeout=BUILD_SECONDS)
    return target / "debug" / paths.NATIVE_MODULE.name


@pytest.mark.timeout(BUILD_SECONDS + 60)
def test_after_a_panic_no_hash_of_a_client_gets_through(origin, tmp_path, panicking_module):
    filters = chain(NATIVE, panicking_module, stallTimeout=200)
    gateway = Gateway(filters, origin, tmp_path, modules=panicking_module.parent)
    gateway.origin.take_received()
    for hook in ("headers", "body", "trailers"):
        headers = [*FORGED, ("x-panic", hook)]
        assert TRANSPORTS["chunked_with_trailers"](gateway.port, body_of(100), headers).status == 500
        assert TRANSPORTS["over_http2_with_trailers"](gateway.port, body_of(100), headers).status == 500
    with http1.Connection(gateway.port) as connection:
        connection.send_head("POST", "/", [*FORGED, ("x-panic", "wake"), ("Content-Length", "10")])
        assert connection.read_response().status == 500
    assert gateway.origin.take_received() == []
    for client in (http1, http2):
        assert_hashed(client.request(gateway.port, "POST", "/", FORGED, b"next"), b"next")
    gateway.holds(0)
    gateway.envoy.stop()
    assert gateway.envoy.process.log_text().count("body-hash: a panic") == 7

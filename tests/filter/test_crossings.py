"""How often a request crosses between Envoy and the module, counted from Envoy's trace log: no noise, unlike time."""

import re
import time
import urllib.request
from collections import Counter

import pytest
from harness import http1, http2
from harness.waiting import eventually

from .attachments import PAIR, SINGLE, WASM_ATTACHMENTS, chain
from .expectations import assert_hashed, body_of

# The calls of the module to Envoy, and Envoy's into the module, for one request: at most.
MOST_CALLS = {PAIR: 14, SINGLE: 7}
MOST_ENTRIES = {PAIR: 14, SINGLE: 7}
_CALL = re.compile(r"\[vm->host\] env\.(proxy_\w+)\(")
_ENTRY = re.compile(r"\[host->vm\] (proxy_\w+)\(")
# Envoy ends the streams of a request after it has answered.
_SETTLED = "proxy_on_delete"


@pytest.fixture(params=WASM_ATTACHMENTS, scope="module")
def attachment(request) -> str:
    """Native code crosses nothing: it is called."""
    return request.param


def logged(gateway, line: re.Pattern) -> Counter:
    return Counter(line.findall(gateway.envoy.process.log_text()))


def trace(gateway) -> None:
    """Makes Envoy log each crossing, and waits until it has written those of the requests before."""
    request = urllib.request.Request(f"http://{gateway.envoy.admin}/logging?wasm=trace", method="POST")
    urllib.request.urlopen(request, timeout=30).close()
    time.sleep(0.5)


@pytest.mark.parametrize("client", [http1, http2], ids=["http1", "http2"])
def test_a_request_crosses_seldom(start, module, attachment, client):
    # The timer runs already, as it does under traffic, and does not tick meanwhile.
    gateway = start(chain(attachment, module, stallTimeout=3_600_000))
    body = body_of(1024)
    assert_hashed(client.request(gateway.port, "POST", body=body), body)
    trace(gateway)
    calls, entries = logged(gateway, _CALL), logged(gateway, _ENTRY)
    streams = entries[_SETTLED] + (2 if attachment == PAIR else 1)
    assert_hashed(client.request(gateway.port, "POST", body=body), body)
    eventually(lambda: logged(gateway, _ENTRY)[_SETTLED] >= streams, what="the end of the streams")
    calls, entries = logged(gateway, _CALL) - calls, logged(gateway, _ENTRY) - entries
    assert calls.total() <= MOST_CALLS[attachment], calls
    assert entries.total() <= MOST_ENTRIES[attachment], entries


def test_a_response_does_not_cross(start, module, attachment):
    gateway = start(chain(attachment, module, maxBodyBytes=77_777))
    trace(gateway)
    assert_hashed(http1.request(gateway.port, "POST", body=b"x"), b"x")
    assert [name for name in logged(gateway, _ENTRY) if "response" in name or "log" in name or "done" in name] == []

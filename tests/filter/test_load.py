"""Ten thousand mixed requests over 64 connections and 4 workers: none wrong, none hung, none failed."""

import json
import subprocess
import sys

from harness import http1
from harness.paths import ROOT

from .attachments import chain
from .expectations import assert_hashed
from .traffic import Tally

REQUESTS, CONNECTIONS, WORKERS = 10_000, 64, 4
# One a core of a small machine.
PROCESSES = 2
SECONDS = 120


def run_in_processes(port: int) -> Tally:
    """The traffic of several client processes."""
    each = [str(port), str(REQUESTS // PROCESSES), str(CONNECTIONS // PROCESSES)]
    clients = [
        subprocess.Popen([sys.executable, "-m", "filter.traffic", *each, str(seed)], cwd=ROOT / "tests", stdout=subprocess.PIPE)
        for seed in range(PROCESSES)
    ]
    whole = Tally()
    try:
        for client in clients:
            whole.add(Tally(**json.loads(client.communicate(timeout=SECONDS)[0])))
    finally:
        for client in clients:
            client.kill()
            client.wait()
    return whole


def test_ten_thousand_mixed_requests_are_all_answered_right(start, module, attachment):
    gateway = start(chain(attachment, module), concurrency=WORKERS)
    with gateway.counting() as counted:
        tally = run_in_processes(gateway.port)
        gateway.holds(0)
    assert tally.wrong == []
    assert tally.passed == 0
    assert tally.requests >= REQUESTS
    assert tally.hashed > REQUESTS / 2 and tally.unhashed > 500 and tally.hung_up > 200
    answered = tally.hashed + tally.unhashed
    assert counted["hashed"] >= tally.hashed
    assert answered <= sum(counted.values()) <= answered + tally.hung_up
    assert set(counted) <= {"hashed", "skipped.no_body", "skipped.too_large", "skipped.aborted"}
    assert_hashed(http1.request(gateway.port, "POST", body=b"after"), b"after")

"""Memory, in a real control group of a small container: large bodies are refused before the kernel has to act."""

import time
from concurrent.futures import ThreadPoolExecutor, wait

import pytest
from harness.attacks import BODIES, MIB, REFUSALS
from harness.cgroup import cgroup
from harness.client import send
from harness.gateway import ANY_KEY, Gateway

CONTAINER = 768 * MIB
# Half of it: the memory tier and what libraries keep need the rest.
BOUND = 384 * MIB
AT_ONCE_SECONDS = 5
# A machine that does other things too answers some calls late, and hangs none.
LATE_SECONDS = 20


@pytest.fixture
def container():
    with cgroup(CONTAINER) as group:
        if group is None:
            pytest.skip("SKIP: this machine allows no memory cgroup of version 1")
        yield group


@pytest.mark.parametrize("kind", BODIES)
def test_four_large_bodies_at_once_leave_half_of_a_small_container_free(kind, container, standin, tmp_path):
    gateway = Gateway(tmp_path / "gateway", standin.url, within=container)
    try:
        headers = {"authorization": f"Bearer {ANY_KEY}", "content-type": "application/json"}
        took = []
        with ThreadPoolExecutor(4) as threads:
            attacks = [threads.submit(send, gateway.url, "POST", "/v1/embeddings", BODIES[kind], headers) for _ in range(4)]
            while not took or wait(attacks, timeout=0).not_done:
                began = time.monotonic()
                assert gateway.embed("an honest call").status == 200
                took.append(time.monotonic() - began)
        statuses = {attack.result().status for attack in attacks}
        assert statuses <= REFUSALS, statuses
        assert min(took) < AT_ONCE_SECONDS and max(took) < LATE_SECONDS, took
        assert container.peak < BOUND, f"{container.peak / MIB:.0f} MiB"
        print(f"{kind}: {container.peak / MIB:.0f} MiB, honest calls {min(took):.3f} to {max(took):.3f} s")
    finally:
        gateway.end()

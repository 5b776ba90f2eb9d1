"""The autoscaler on a real metrics-server: up under load, and down again."""

import json
import threading

import pytest
from asking import ask, fresh, fresh_key
from cluster.gateway import NAMESPACE
from cluster.waiting import until

SECONDS = 300
INPUTS = 64
NAME = "embedding-gateway"
HPA = f"/apis/autoscaling/v2/namespaces/{NAMESPACE}/horizontalpodautoscalers/{NAME}"
# A cluster waits for five minutes before it scales down.
AT_ONCE = {"spec": {"behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}}}}


def replicas(mesh) -> int:
    return mesh.api.get(f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/{NAME}")["spec"]["replicas"]


def usage(mesh) -> int | None:
    """Of the program alone, in percent of its request, as the autoscaler has it."""
    metrics = mesh.api.get(HPA)["status"].get("currentMetrics") or []
    found = [each["containerResource"]["current"].get("averageUtilization") for each in metrics if "containerResource" in each]
    return found[0] if found else None


@pytest.fixture
def load():
    """Misses, until the event that it yields is set."""
    ended = threading.Event()

    def send() -> None:
        key = fresh_key()
        while not ended.is_set():
            body = {"model": "text-embedding-3-small", "input": [fresh("load") for _ in range(INPUTS)]}
            headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
            try:
                ask("POST", "/v1/embeddings", json.dumps(body).encode(), headers)
            except OSError:
                # A pod less, or one that is not ready yet.
                ended.wait(1)

    threads = [threading.Thread(target=send, daemon=True) for _ in range(4)]
    for each in threads:
        each.start()
    yield ended
    ended.set()
    for each in threads:
        each.join(SECONDS)


@pytest.fixture
def figures(mesh, gateway):
    """While the test runs: what comes after it would be scaled as well."""
    mesh.measure()
    yield
    mesh.stop_measuring()


def test_the_backend_scales_up_under_load_and_down_again(mesh, gateway, figures, load, record_property):
    mesh.kubectl("-n", NAMESPACE, "patch", "horizontalpodautoscaler", NAME, "--patch", json.dumps(AT_ONCE))
    assert replicas(mesh) == 1
    until(lambda: replicas(mesh) > 1, SECONDS, "more pods under load")
    until(lambda: mesh.settled(NAMESPACE), SECONDS, "each of them ready")
    record_property("usage under load in percent of the request", usage(mesh))
    load.set()
    until(lambda: replicas(mesh) == 1, SECONDS, "one pod without load")
    until(lambda: mesh.settled(NAMESPACE), SECONDS, "the rest is gone")

"""The autoscaler on a real metrics-server: up under load."""

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
AT_ONCE = {"behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}}}


def replicas(mesh) -> int:
    return mesh.api.get(f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/{NAME}")["spec"]["replicas"]


def usage(mesh) -> int | None:
    """Of the program alone, in percent of its request, as the autoscaler has it."""
    metrics = mesh.api.get(HPA)["status"].get("currentMetrics") or []
    found = [each["containerResource"]["current"].get("averageUtilization") for each in metrics if "containerResource" in each]
    return found[0] if found else None


@pytest.fixture
def load():
    """Misses, as long as the test runs."""
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
    yield
    ended.set()
    for each in threads:
        each.join(SECONDS)


def test_the_backend_scales_up_under_load(mesh, gateway, load, record_property):
    """As far as dev lets it; how it comes down again is seen after other tests: test_scaled_down.py."""
    (shipped,) = [each["spec"] for each in gateway.overlay.shipped() if each["kind"] == "HorizontalPodAutoscaler"]
    mesh.wait_for_figures()
    assert replicas(mesh) == 1
    mesh.kubectl("-n", NAMESPACE, "patch", "horizontalpodautoscaler", NAME, "--type=merge", "--patch", json.dumps({"spec": shipped | AT_ONCE}))
    until(lambda: replicas(mesh) > 1, SECONDS, "more pods under load")
    until(lambda: mesh.settled(NAMESPACE), SECONDS, "each of them ready")
    record_property("usage under load in percent of the request", usage(mesh))

"""What only a real node can show: images, limits, enforced policies, Pod Security with sidecars, kubectl's own ways into a Pod."""

import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from asking import body_of, embed, fresh, hash_of
from cluster.control_plane import ISTIO_NAMESPACE
from cluster.gateway import HOST, NAMESPACE
from cluster.waiting import until
from harness.client import send
from harness.ports import free_port
from harness.processes import Process
from machine.node import NAME as NODE
from test_deploy import restarts

SECONDS = 120
# Longer than a connection takes here, and than kube-router's next look at a new Pod.
CONNECT_SECONDS = 3
VARNISH = "embedding-gateway-varnish-0"
STRANGER = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "stranger", "namespace": "default"},
    "spec": {"containers": [{"name": "stranger", "image": "quay.io/curl/curl:8.22.0", "command": ["sleep", "infinity"]}], "terminationGracePeriodSeconds": 0},
}
# Half of the limit of each backend's container, and more, is on its way at once.
HELD_BODIES, HELD_BYTES = 96, 8 * 2**20


def address(mesh, selector: str) -> str:
    return mesh.pods(NAMESPACE, selector)[0]["status"]["podIP"]


def test_restricted_is_enforced_and_istios_cni_plugin_takes_the_place_of_its_root_container(mesh, gateway):
    done = mesh.kubectl("-n", NAMESPACE, "run", "root", "--image=quay.io/curl/curl:8.22.0", "--", "true", check=False)
    assert done.returncode != 0 and "violates PodSecurity" in done.stderr
    for pod in mesh.pods(NAMESPACE):
        assert "istio-proxy" in {each["name"] for each in pod["spec"].get("initContainers", [])}
        assert "istio-init" not in {each["name"] for each in pod["spec"].get("initContainers", [])}


@pytest.fixture(scope="module")
def stranger(mesh, gateway) -> str:
    """A Pod of another namespace, outside of the mesh."""
    mesh.apply([STRANGER])
    until(lambda: mesh.unready("default") == [], SECONDS, "the stranger")
    return "stranger"


def connects(mesh, namespace: str, pod: str, container: str, where: str, port: int) -> bool:
    """Whether a TCP connection comes about: curl's 28 is a time-out, 7 a refusal by the kernel."""
    command = ["curl", "-s", "-o", "/dev/null", "--connect-timeout", str(CONNECT_SECONDS), "-m", str(CONNECT_SECONDS), f"telnet://{where}:{port}"]
    done = mesh.kubectl("-n", namespace, "exec", pod, "-c", container, "--", "sh", "-c", f"{' '.join(command)} -w %{{time_connect}} </dev/null; echo", check=False)
    spent = done.stdout.strip().splitlines()
    return bool(spent) and float(spent[-1] or 0) > 0


PORTS = {"app=embedding-gateway": 8000, "app=embedding-gateway-varnish": 6081, "app=embedding-gateway-endpoint-broadcaster": 8080, "app=minio": 9000}


def test_the_network_refuses_a_stranger(mesh, stranger):
    """mTLS would as well: this is about the connection. A way that is open shows that the question can be answered with yes."""
    assert mesh.node.alive("kube-router")
    open_way = mesh.pods(ISTIO_NAMESPACE, "istio=ingressgateway")[0]["status"]["podIP"]
    until(lambda: connects(mesh, "default", stranger, "stranger", open_way, 80), SECONDS, "the ingress gateway takes a stranger's connection")

    def refuses(selector: str) -> None:
        where, port = address(mesh, selector), PORTS[selector]
        until(lambda: not connects(mesh, "default", stranger, "stranger", where, port), SECONDS, f"{selector} refuses a stranger")

    # A refusal is a time-out: they wait for it together.
    with ThreadPoolExecutor(len(PORTS)) as callers:
        list(callers.map(refuses, PORTS))
    assert mesh.node.alive("kube-router")


def test_kubectl_reaches_into_the_pods(mesh, gateway, key):
    text = fresh("logged")
    assert embed(text, key).status == 200

    def logged() -> bool:
        lines = mesh.kubectl("-n", NAMESPACE, "logs", "-l", "app=embedding-gateway-varnish", "-c", "istio-proxy", "--tail=-1").stdout
        return hash_of(body_of(text)) in lines

    until(logged, SECONDS, "the access log has the hash")
    backend = mesh.kubectl("-n", NAMESPACE, "logs", "deployment/embedding-gateway", "-c", "embedding-gateway", "--tail=1").stdout
    assert json.loads(backend)["message"]
    counters = mesh.kubectl("-n", NAMESPACE, "exec", VARNISH, "-c", "varnish", "--", "varnishstat", "-n", "/var/lib/varnish/work", "-1").stdout
    assert "MAIN.cache_hit" in counters
    said = mesh.kubectl("-n", NAMESPACE, "rollout", "status", "deployment/embedding-gateway").stdout
    assert said == 'deployment "embedding-gateway" successfully rolled out\n'


def test_varnishs_counters_come_by_its_sidecar(mesh, gateway, key):
    """Where the PodMonitor reads them: the exporter's, merged into the proxy's own."""

    def hits() -> float:
        page = mesh.kubectl("-n", NAMESPACE, "exec", VARNISH, "-c", "varnish", "--", "curl", "-s", "-m", "10", "http://127.0.0.1:15020/stats/prometheus").stdout
        found = [line.split() for line in page.splitlines() if line.startswith("varnish_main_cache_hit ")]
        return float(found[0][1]) if found else -1

    before = until(lambda: hits() + 1, SECONDS, "Varnish's counters") - 1
    text = fresh("counted")

    def counted() -> bool:
        embed(text, key)
        return hits() > before

    # Of two pods each body has one, so several bodies are asked for.
    texts = [fresh("counted") for _ in range(12)]
    for _ in range(2):
        assert [embed(each, key).status for each in texts] == [200] * len(texts)
    until(counted, SECONDS, "a hit is counted")


def test_a_forwarded_port_shows_the_page(mesh, gateway, tmp_path):
    port = free_port()
    command = ["kubectl", "--kubeconfig", mesh.control_plane.kubeconfig, "-n", NAMESPACE, "port-forward", "service/embedding-gateway-backend", f"{port}:8080"]
    forward = Process(command, tmp_path / "forward.log")
    try:
        until(lambda: "Forwarding from" in forward.log_text(), SECONDS, "a forwarded port")
        assert send(f"http://127.0.0.1:{port}", "GET", "/").status == 200
    finally:
        forward.kill()


# All but the last byte, once for all threads.
_BODY = b" " * (HELD_BYTES - 1)


def hold(ended: threading.Event) -> None:
    """A chat call whose body comes, but for its last byte, and waits there."""
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: Bearer sk-held\r\nContent-Length: {HELD_BYTES}\r\n\r\n"
    try:
        with socket.create_connection((HOST, 80), timeout=SECONDS) as connection:
            connection.sendall(head.encode())
            connection.sendall(_BODY)
            ended.wait(SECONDS)
    except OSError:
        # Refused, which is an answer.
        pass


def status_of(text: str, key: str) -> int | None:
    """None where no answer came: 800 MB are on their way through two processors."""
    try:
        return embed(text, key).status
    except OSError:
        return None


def test_bodies_that_are_held_kill_no_container(mesh, gateway, key):
    """In the limits of dev: 96 bodies of 8 MiB are more than all of them."""
    ended = threading.Event()
    held = [threading.Thread(target=hold, args=(ended,), daemon=True) for _ in range(HELD_BODIES)]
    for each in held:
        each.start()
    try:
        for _ in range(20):
            assert status_of(fresh("meanwhile"), key) in (200, 503, None)
            time.sleep(0.2)
    finally:
        ended.set()
        for each in held:
            each.join(SECONDS)
    assert restarts(mesh) == {}
    until(lambda: status_of(fresh("after"), key) == 200, SECONDS, "embeddings afterwards")


def test_limits_are_those_of_the_manifests(mesh, gateway):
    read = ["cat", "/sys/fs/cgroup/memory/memory.limit_in_bytes"]
    limit = mesh.kubectl("-n", NAMESPACE, "exec", VARNISH, "-c", "varnish", "--", *read).stdout
    assert int(limit) == 768 * 2**20


def drain(mesh) -> str:
    """What kubectl says when it may wait for a moment only; the pods of Varnish alone, for there is no other node to go to."""
    command = ("drain", NODE, "--delete-emptydir-data", "--ignore-daemonsets", "--pod-selector=app=embedding-gateway-varnish", "--timeout=10s")
    done = mesh.kubectl(*command, check=False)
    assert done.returncode != 0
    return done.stdout + done.stderr


def test_a_drain_takes_one_varnish_and_leaves_the_other(mesh, gateway, key):
    text = fresh("drained")
    until(lambda: embed(text, key).from_varnish, SECONDS, "an answer from Varnish")
    try:
        assert "disruption budget" in drain(mesh)
        ready = [pod for pod in gateway.varnish_pods() if pod not in mesh.unready(NAMESPACE)]
        assert len(ready) >= 1
        until(lambda: status_of(fresh("meanwhile"), key) == 200, SECONDS, "embeddings while a node is drained")
    finally:
        mesh.kubectl("uncordon", NODE)
    until(lambda: mesh.settled(NAMESPACE), SECONDS * 2, "both Varnish pods again")
    gateway.wait_for_varnish_at_the_ingress()

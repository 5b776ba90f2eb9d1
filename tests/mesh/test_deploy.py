"""What `kubectl apply -k` brings runs: every Pod ready, the Job done, every proxy content with what it was told."""

from cluster.gateway import NAMESPACE


def test_all_pods_are_ready_and_none_was_restarted(mesh, gateway):
    assert mesh.unready(NAMESPACE) == []
    assert restarts(mesh) == {}


def test_no_proxy_rejected_what_istiod_sent(mesh, gateway):
    assert mesh.control_plane.rejections() == {}


def restarts(mesh) -> dict[str, int]:
    """How often which container was restarted. A Job may end its own proxy, which a native sidecar does not take for the end."""
    counts = {}
    for pod in mesh.pods(NAMESPACE):
        status = pod["status"]
        if status["phase"] == "Succeeded":
            continue
        for container in [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]:
            if container["restartCount"]:
                counts[f"{pod['metadata']['name']}/{container['name']}"] = container["restartCount"]
    return counts

"""What `kubectl apply -k` brings runs: every Pod ready, the Job done, every proxy content with what it was told."""

from cluster.gateway import NAMESPACE, VARNISH

# Seconds before a program learns that it is to end, and all that its Pod has for that: kustomize/README.md.
ENDS = {"embedding-gateway": (5, 45), "embedding-gateway-endpoint-broadcaster": (5, 45), VARNISH: (30, 45)}
VARNISHS_HERE = (10, 45)


def test_all_pods_are_ready_and_none_was_restarted(mesh, gateway):
    assert mesh.unready(NAMESPACE) == []
    assert restarts(mesh) == {}


def test_no_proxy_rejected_what_istiod_sent(mesh, gateway):
    assert mesh.control_plane.rejections() == {}


def ends_of(objects: list[dict]) -> dict[str, tuple[int, int]]:
    found = {}
    for each in objects:
        spec = each["spec"]["template"]["spec"] if each["kind"] in ("Deployment", "StatefulSet") else {"containers": []}
        pauses = [container["lifecycle"]["preStop"]["sleep"]["seconds"] for container in spec["containers"] if "preStop" in container.get("lifecycle", {})]
        if pauses:
            found[each["metadata"]["name"]] = (pauses[0], spec["terminationGracePeriodSeconds"])
    return found


def test_pods_end_as_slowly_as_documented_but_for_varnishs_in_these_tests(mesh, gateway):
    """Its 30 s would be waited for by every test that replaces it: layer/kustomization.yaml."""
    assert ends_of(gateway.overlay.shipped()) == ENDS
    assert ends_of(gateway.overlay.objects()) == ENDS | {VARNISH: VARNISHS_HERE}
    apps = f"/apis/apps/v1/namespaces/{NAMESPACE}"
    running = [each | {"kind": kind} for kind in ("Deployment", "StatefulSet") for each in mesh.api.items(f"{apps}/{kind.lower()}s")]
    assert ends_of(running) == ENDS | {VARNISH: VARNISHS_HERE}


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

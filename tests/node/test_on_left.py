"""What `kubectl delete -k` leaves: nothing."""

from cluster.gateway import NAMESPACE

OURS = "app.kubernetes.io/part-of=embedding-gateway"


def test_nothing_of_it_is_left(mesh, gateway):
    mesh.kubectl("delete", "-k", gateway.overlay.path, "--timeout=180s")
    assert mesh.kubectl("get", "-k", gateway.overlay.path, "--ignore-not-found", "-o", "name").stdout == ""
    assert mesh.found(f"/api/v1/namespaces/{NAMESPACE}") is None
    kinds = mesh.kubectl("api-resources", "--verbs", "list", "-o", "name").stdout.split()
    assert mesh.kubectl("get", ",".join(kinds), "--all-namespaces", "-l", OURS, "-o", "name").stdout == ""

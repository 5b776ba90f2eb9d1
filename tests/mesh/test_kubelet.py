"""The harness itself: a Pod with one mistake must not become ready, and each must be seen for what it is."""

import copy
import itertools

import pytest
from cluster.waiting import until

NAMESPACE = "kubelet"
CONFIG = {"settings": "answer=42\n"}
START_SECONDS = 60
_numbers = itertools.count()
# Serves what is mounted, as a user who is not root, on a root that cannot be written.
_SCRIPT = """
set -eu
test "$ANSWER" = 42
test "$NODE" = local
test "$(cat /etc/app/settings)" = answer=42
test -w /scratch
if touch /written 2>/dev/null; then exit 1; fi
cd /etc/app
exec python3 -m http.server 8080
"""
GOOD = {
    "securityContext": {"runAsNonRoot": True, "runAsUser": 4242, "fsGroup": 4343},
    "terminationGracePeriodSeconds": 1,
    "containers": [
        {
            "name": "app",
            "image": "example.com/caller:1",
            "command": ["sh", "-c", _SCRIPT],
            "env": [
                {"name": "ANSWER", "valueFrom": {"secretKeyRef": {"name": "app", "key": "answer"}}},
                {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
            ],
            "ports": [{"name": "http", "containerPort": 8080}],
            "readinessProbe": {"httpGet": {"path": "/settings", "port": "http"}, "periodSeconds": 1},
            "securityContext": {"readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}},
            "volumeMounts": [{"name": "config", "mountPath": "/etc/app"}, {"name": "scratch", "mountPath": "/scratch"}],
        }
    ],
    "volumes": [{"name": "config", "configMap": {"name": "app"}}, {"name": "scratch", "emptyDir": {}}],
}


@pytest.fixture(scope="module")
def namespace(mesh):
    mesh.api.create("/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
    objects = f"/api/v1/namespaces/{NAMESPACE}"
    mesh.api.create(f"{objects}/configmaps", {"metadata": {"name": "app"}, "data": CONFIG})
    mesh.api.create(f"{objects}/secrets", {"metadata": {"name": "app"}, "stringData": {"answer": "42"}})
    until(lambda: mesh.found(f"{objects}/serviceaccounts/default"), START_SECONDS, "the default service account")
    yield objects
    mesh.api.delete(f"/api/v1/namespaces/{NAMESPACE}")


@pytest.fixture
def start(mesh, namespace):
    """Starts the good Pod with one change; answers what its status says."""
    names = []

    def start_pod(change=lambda spec, container: None):
        spec = copy.deepcopy(GOOD)
        change(spec, spec["containers"][0])
        names.append(f"pod-{next(_numbers)}")
        mesh.api.create(f"{namespace}/pods", {"metadata": {"name": names[-1]}, "spec": spec})
        return lambda: mesh.api.get(f"{namespace}/pods/{names[-1]}")["status"]

    yield start_pod
    for name in names:
        mesh.api.delete(f"{namespace}/pods/{name}", {"gracePeriodSeconds": 0})


def is_ready(status: dict) -> bool:
    return any(each["type"] == "Ready" and each["status"] == "True" for each in status.get("conditions", []))


def state(status: dict) -> dict:
    return (status.get("containerStatuses") or [{"state": {}}])[0]["state"]


def test_a_pod_without_a_mistake_becomes_ready(start):
    status = start()
    until(lambda: is_ready(status()), START_SECONDS, "ready")


def mistakes():
    """(what is wrong, the change, the state in which the container must be found)"""

    def volume(spec, container):
        spec["volumes"][0]["configMap"]["items"] = [{"key": "setting", "path": "settings"}]

    def key(spec, container):
        container["env"][0]["valueFrom"]["secretKeyRef"]["key"] = "answers"

    def mount(spec, container):
        container["volumeMounts"][0]["mountPath"] = "/etc/apps"

    def no_scratch(spec, container):
        del container["volumeMounts"][1]

    def writable_root(spec, container):
        container["securityContext"]["readOnlyRootFilesystem"] = False
        container["securityContext"]["runAsUser"] = 0
        container["securityContext"]["runAsNonRoot"] = False
        container["securityContext"]["capabilities"] = {}

    def root(spec, container):
        spec["securityContext"]["runAsUser"] = 0

    def image(spec, container):
        container["image"] = "example.com/unknown:1"

    return {
        "a volume's key": (volume, {}),
        "a variable's key": (key, {"waiting": "CreateContainerConfigError"}),
        "a mount's path": (mount, {"terminated": "Error"}),
        "no mount where it writes": (no_scratch, {"terminated": "Error"}),
        "a root that can be written": (writable_root, {"terminated": "Error"}),
        "root where root is forbidden": (root, {"waiting": "CreateContainerConfigError"}),
        "an image that is not there": (image, {"waiting": "ErrImagePull"}),
    }


@pytest.mark.parametrize(("change", "expected"), mistakes().values(), ids=mistakes())
def test_a_mistake_keeps_a_pod_from_running(start, change, expected):
    def change_and_stay_ended(spec, container):
        spec["restartPolicy"] = "Never"
        change(spec, container)

    status = start(change_and_stay_ended)
    if not expected:
        # Its volumes never come to be, so no container is even tried.
        until(lambda: status().get("podIP"), START_SECONDS, "an address")
        assert not is_ready(status())
        return
    until(lambda: {kind: value.get("reason") for kind, value in state(status()).items()} == expected, START_SECONDS, expected)
    assert not is_ready(status())


@pytest.mark.parametrize(
    "probe",
    [
        {"httpGet": {"path": "/missing", "port": "http"}},
        {"httpGet": {"path": "/settings", "port": 8081}},
        {"httpGet": {"path": "/settings", "port": "https"}},
        {"tcpSocket": {"port": 8081}},
        {"exec": {"command": ["test", "-e", "/etc/app/setting"]}},
    ],
    ids=["path", "port", "name of a port", "TCP port", "command"],
)
def test_a_probe_that_fails_restarts_the_container_and_keeps_it_from_being_ready(start, probe):
    def change(spec, container):
        container["readinessProbe"] = probe | {"periodSeconds": 1}
        container["livenessProbe"] = probe | {"periodSeconds": 1, "failureThreshold": 2, "initialDelaySeconds": 1}

    status = start(change)
    until(lambda: (status().get("containerStatuses") or [{}])[0].get("restartCount"), START_SECONDS, "a restart")
    assert not is_ready(status())


def test_a_sidecar_starts_before_the_containers_and_ends_after_them(mesh, start):
    def change(spec, container):
        spec["restartPolicy"] = "Never"
        waits = "trap 'exit 0' TERM; touch /scratch/sidecar; while :; do sleep 0.1; done"
        mount = container["volumeMounts"][1]
        sidecar = {"name": "sidecar", "image": "caller", "restartPolicy": "Always", "command": ["sh", "-c", waits]}
        sidecar["startupProbe"] = {"exec": {"command": ["test", "-e", "/scratch/sidecar"]}, "periodSeconds": 1}
        spec["initContainers"] = [sidecar | {"volumeMounts": [mount]}]
        container["command"] = ["test", "-e", "/scratch/sidecar"]
        del container["readinessProbe"]

    status = start(change)
    until(lambda: status()["phase"] == "Succeeded", START_SECONDS, "the end")
    assert status()["initContainerStatuses"][0]["state"]["terminated"]["exitCode"] == 0

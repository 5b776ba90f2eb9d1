"""The autoscaler's figures: a real metrics-server beside the node, which the API server asks as it asks one in a Pod."""

from pathlib import Path

from cluster.control_plane import ControlPlane
from cluster.network import NODE_ADDRESS
from cluster.waiting import until
from harness.processes import Process

_PORT = 4443
_NAME = "metrics-server"
# The shortest that it takes.
RESOLUTION = "10s"
START_SECONDS = 120
API_SERVICE = "v1beta1.metrics.k8s.io"
_API = {"group": "metrics.k8s.io", "version": "v1beta1", "groupPriorityMinimum": 100, "versionPriority": 100, "insecureSkipTLSVerify": True}


def start(kit: Path, control_plane: ControlPlane, folder: Path, client: tuple[Path, Path], apply) -> Process:
    """Running when it returns. `client` is the certificate and key that kubelets know."""
    folder.mkdir(parents=True)
    same = [f"--{name}={control_plane.kubeconfig}" for name in ("kubeconfig", "authentication-kubeconfig", "authorization-kubeconfig")]
    kubelets = ["--kubelet-insecure-tls", "--kubelet-preferred-address-types=InternalIP"]
    kubelets += [f"--kubelet-client-certificate={client[0]}", f"--kubelet-client-key={client[1]}"]
    # The resolution must be longer than the time for one answer.
    kubelets += ["--kubelet-request-timeout=5s"]
    own = [f"--secure-port={_PORT}", f"--cert-dir={folder / 'certificates'}", f"--metric-resolution={RESOLUTION}"]
    process = Process([kit / "bin/metrics-server", *same, *kubelets, *own], folder / "metrics-server.log")
    apply(_objects())
    return process


def wait(control_plane: ControlPlane) -> None:
    """Until it answers."""
    until(lambda: control_plane.kubectl("top", "nodes", check=False).returncode == 0, START_SECONDS, "figures of the node")


def _objects() -> list[dict]:
    metadata = {"name": _NAME, "namespace": "kube-system"}
    port = {"name": "https", "port": 443, "targetPort": _PORT}
    service = {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"ports": [port]}}
    labels = {"kubernetes.io/service-name": _NAME}
    ports = [{"name": "https", "port": _PORT}]
    slice_ = {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": metadata | {"labels": labels}, "addressType": "IPv4"}
    api = {"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": {"name": API_SERVICE}}
    where = {"name": _NAME, "namespace": "kube-system", "port": 443}
    return [service, slice_ | {"endpoints": [{"addresses": [NODE_ADDRESS]}], "ports": ports}, api | {"spec": _API | {"service": where}}]

"""All of it together: one network, a control plane, names, a node.

Wants namespaces of its own for network, mounts and processes, which scripts/test.sh makes: what it starts ends with them.
"""

import json
import os
import subprocess
from pathlib import Path

from kubelet.api import Api, ApiError
from kubelet.images import Images
from kubelet.node import Node
from kubelet.sandbox import NODE_ADDRESS, make_bridge

from cluster import control_plane
from cluster.control_plane import ControlPlane
from cluster.names import Names
from cluster.registry import NAME as REGISTRY

# Room for claims of stateful sets; bound by the first that claims it.
VOLUMES = 4


class Mesh:
    """A running cluster of one node."""

    def __init__(self, kit: Path, images: Images, folder: Path) -> None:
        refuse_a_shared_network()
        self._folder = folder
        make_bridge()
        api = Api("127.0.0.1", control_plane.API_PORT, control_plane.TOKEN)
        self.names = Names(api, control_plane.NAMES | {REGISTRY.partition(":")[0]: NODE_ADDRESS})
        resolve_here(folder)
        self.control_plane = ControlPlane(kit, folder / "control-plane", REGISTRY)
        self.api = api
        self.kubectl = self.control_plane.kubectl
        self.node = Node(api, images, folder / "node")
        for number in range(VOLUMES):
            self._offer_volume(f"volume-{number}", folder / "volumes" / str(number))

    def found(self, path: str) -> dict | None:
        """The object at this path of the API, if it is there."""
        try:
            return self.api.get(path)
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    def pods(self, namespace: str, selector: str = "") -> list[dict]:
        query = f"?labelSelector={selector.replace('=', '%3D').replace(',', '%2C')}" if selector else ""
        return self.api.items(f"/api/v1/namespaces/{namespace}/pods{query}")

    def unready(self, namespace: str) -> list[str]:
        return [pod["metadata"]["name"] for pod in self.pods(namespace) if not _is_ready(pod)]

    def apply(self, objects: list[dict]) -> None:
        """What `kubectl apply` does with these."""
        path = _written(self._folder, "apply", {"apiVersion": "v1", "kind": "List", "items": objects})
        self.kubectl("apply", "--filename", path)

    def settled(self, namespace: str) -> bool:
        """Every workload has all its Pods, of its newest template, ready; every Job is done."""
        apps, batch = f"/apis/apps/v1/namespaces/{namespace}", f"/apis/batch/v1/namespaces/{namespace}"
        workloads = [*self.api.items(f"{apps}/deployments"), *self.api.items(f"{apps}/statefulsets")]
        return all(map(_is_rolled_out, workloads)) and all(job["status"].get("succeeded") for job in self.api.items(f"{batch}/jobs"))

    def stop(self) -> None:
        for life in list(self.node.pods.values()):
            life.delete(0, forced=True)
        self.control_plane.stop()

    def _offer_volume(self, name: str, path: Path) -> None:
        spec = {
            "capacity": {"storage": "100Gi"},
            "accessModes": ["ReadWriteOnce"],
            "hostPath": {"path": str(path)},
            "persistentVolumeReclaimPolicy": "Retain",
        }
        volume = {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name}, "spec": spec}
        self.kubectl("create", "-f", _written(path.parent, name, volume))


def _is_rolled_out(workload: dict) -> bool:
    status, wanted = workload["status"], workload["spec"]["replicas"]
    current = status.get("observedGeneration") == workload["metadata"]["generation"]
    counts = [status.get(name, 0) for name in ("replicas", "readyReplicas", "updatedReplicas")]
    return current and counts == [wanted] * 3


def _written(folder: Path, name: str, content: dict) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    path.write_text(json.dumps(content))
    return str(path)


def _is_ready(pod: dict) -> bool:
    conditions = {each["type"]: each["status"] for each in pod["status"].get("conditions", [])}
    return pod["status"].get("phase") == "Succeeded" or conditions.get("Ready") == "True"


def refuse_a_shared_network() -> None:
    assert os.getpid() == 1, "run this by `scripts/test.sh mesh`: it needs namespaces of its own"
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


def resolve_here(folder: Path) -> None:
    """Names mean for the control plane and the tests what they mean for Pods."""
    path = folder / "resolv.conf"
    path.write_text(f"nameserver {NODE_ADDRESS}\nsearch cluster.local\noptions ndots:5\n")
    subprocess.run(["mount", "--bind", path, "/etc/resolv.conf"], check=True)

"""All of it together: one network, a control plane, names, a node.

Wants namespaces of its own for network, mounts and processes, which scripts/test.sh makes: what it starts ends with them.
"""

import json
import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from harness.processes import Process
from machine import metrics
from machine.images import images
from machine.node import NAME, START_SECONDS, Node, prepare
from machine.publish import publish

from cluster import dns
from cluster.api import Api, ApiError
from cluster.control_plane import API_PORT, ISTIOD_NAME, TOKEN, ControlPlane
from cluster.names import Names
from cluster.network import NODE_ADDRESS, make_bridge
from cluster.registry import NAME as REGISTRY
from cluster.registry import PORT as REGISTRY_PORT
from cluster.registry import Registry
from cluster.waiting import until

# Room for claims of stateful sets; bound by the first that claims it.
VOLUMES = 3
END_SECONDS = 300


class Mesh:
    """A running cluster of one node."""

    def __init__(self, kit: Path, folder: Path) -> None:
        refuse_a_shared_network()
        prepare()
        self._kit, self._folder = kit, folder
        self._metrics: Process | None = None
        make_bridge()
        self.api = Api("127.0.0.1", API_PORT, TOKEN)
        # What knows all names, and istiod, run beside the Pods, at the node's address.
        self.names = Names(self.api, {ISTIOD_NAME: NODE_ADDRESS, REGISTRY.partition(":")[0]: NODE_ADDRESS})
        resolve_here(folder)
        self.registry = Registry(folder / "registry")
        with ThreadPoolExecutor(1) as aside:
            published = aside.submit(lambda: publish(images(kit, folder / "images"), NODE_ADDRESS, REGISTRY_PORT))
            self.control_plane = ControlPlane(kit, folder / "control-plane", REGISTRY)
            self.kubectl = self.control_plane.kubectl
            self.node = Node(kit, folder / "node", self.control_plane.kubeconfig, self.control_plane.client_ca, f"http://{NODE_ADDRESS}:{REGISTRY_PORT}")
            self._start_node()
            published.result()
        self._start_dns()
        for number in range(VOLUMES):
            path = folder / "volumes" / str(number)
            path.mkdir(parents=True)
            # kubelet gives a hostPath to no group.
            path.chmod(0o777)
            self._offer_volume(f"volume-{number}", path)

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

    def end(self, namespace: str) -> None:
        """Takes away a namespace and all in it, and gives its Pods no time."""
        self.kubectl("delete", "namespace", namespace, "--ignore-not-found", "--wait=false")
        # None comes back in a namespace that ends.
        self.kubectl("-n", namespace, "delete", "pods", "--all", "--force", "--grace-period=0", check=False)
        until(lambda: self.found(f"/api/v1/namespaces/{namespace}") is None, END_SECONDS, f"the end of {namespace}")

    def hasten_end(self, namespace: str) -> None:
        """Has a namespace that ends looked at again once its Pods are gone: else that is after half of their longest grace period."""

        def without_pods() -> bool:
            found = self.found(f"/api/v1/namespaces/{namespace}")
            return found is None or (found["status"]["phase"] == "Terminating" and not self.pods(namespace))

        until(without_pods, END_SECONDS, "no more Pods")
        self.kubectl("annotate", "namespace", namespace, "tests/pods=gone", check=False)

    def settled(self, namespace: str) -> bool:
        """Every workload has all its Pods, of its newest template, ready; every Job is done."""
        apps, batch = f"/apis/apps/v1/namespaces/{namespace}", f"/apis/batch/v1/namespaces/{namespace}"
        workloads = [*self.api.items(f"{apps}/deployments"), *self.api.items(f"{apps}/statefulsets")]
        return all(map(_is_rolled_out, workloads)) and all(job["status"].get("succeeded") for job in self.api.items(f"{batch}/jobs"))

    def logs(self, namespace: str, selector: str, container: str) -> list[tuple[str, str]]:
        """(pod, line) of all that these containers wrote, as `kubectl logs` has it."""
        said = self.kubectl("-n", namespace, "logs", "-l", selector, "-c", container, "--prefix", "--tail=-1", check=False).stdout
        # [pod/NAME/CONTAINER] LINE
        split = (line.partition("] ") for line in said.splitlines() if line.startswith("[pod/"))
        return [(head.split("/")[1], line) for head, _, line in split]

    def logs_of_all(self, namespace: str) -> list[tuple[str, str]]:
        """(pod, the last of what all its containers wrote)."""
        names = [pod["metadata"]["name"] for pod in self.pods(namespace)]
        return [(name, self.kubectl("-n", namespace, "logs", name, "--all-containers", "--prefix", "--tail=15", check=False).stdout) for name in names]

    def run_in(self, pod: dict, *command: str, timeout: float) -> subprocess.CompletedProcess:
        """Runs a program of this machine in the Pod's network, as if it were one of the Pod's."""
        started = next(each["containerID"] for each in pod["status"]["containerStatuses"])
        return self.node.run_in_network(started.removeprefix("containerd://"), *command, timeout=timeout)

    def memory_kills(self) -> dict[str, int]:
        """How many processes the kernel has killed for their container's limit, also where that went on without them."""
        said = {name: self.node.memory(each, "memory.oom_control") for name, each in self._containers("")}
        counts = {name: int(text.rpartition("oom_kill ")[2] or 0) for name, text in said.items()}
        return {name: count for name, count in counts.items() if count}

    def memory_peaks(self, namespace: str) -> dict[str, int]:
        """The most that each container has had, in bytes."""
        return {name: int(self.node.memory(each, "memory.max_usage_in_bytes") or 0) for name, each in self._containers(namespace)}

    def _containers(self, namespace: str) -> list[tuple[str, str]]:
        """(pod/container, its id) of those that run, there or anywhere."""
        pods = self.pods(namespace) if namespace else self.api.items("/api/v1/pods")
        found = []
        for pod in pods:
            status = pod["status"]
            for each in [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]:
                if "running" in each["state"]:
                    found.append((f"{pod['metadata']['name']}/{each['name']}", each["containerID"].removeprefix("containerd://")))
        return found

    def measure(self) -> None:
        """Starts what the autoscaler gets its figures from; they come a while later."""
        self._metrics = metrics.start(self._kit, self.control_plane, self._folder / "metrics", self.control_plane.client, self.apply)

    def wait_for_figures(self) -> None:
        metrics.wait(self.control_plane)

    def stop_measuring(self) -> None:
        """And the autoscaler leaves all as it is. An API that is known and does not answer would keep namespaces from ending."""
        self.kubectl("delete", "apiservice", metrics.API_SERVICE)
        if self._metrics is not None:
            self._metrics.kill()
            self._metrics = None

    def stop(self) -> None:
        if self._metrics is not None:
            self._metrics.kill()
        self.node.stop()
        self.control_plane.stop()
        self.registry.stop()
        # Of no use to a reader of logs, nor to the search for keys.
        for each in ("images", "registry/blobs", "registry/buildah", "control-plane/etcd"):
            shutil.rmtree(self._folder / each, ignore_errors=True)

    def _start_node(self) -> None:
        self.node.start_runtime()
        self.node.start()
        until(self._node_is_ready, START_SECONDS, "a Ready node")
        self.node.start_policies()

    def _start_dns(self) -> None:
        self.apply(dns.objects())
        until(lambda: self.settled(dns.NAMESPACE), START_SECONDS, "DNS")

    def _node_is_ready(self) -> bool:
        found = self.found(f"/api/v1/nodes/{NAME}")
        conditions = {each["type"]: each["status"] for each in (found or {}).get("status", {}).get("conditions", [])}
        return conditions.get("Ready") == "True"

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

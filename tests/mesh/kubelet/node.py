"""The node: registers itself, watches the Pods that are bound to it, and gives each its life."""

import shutil
import threading
from pathlib import Path

from kubelet.api import Api, ApiError
from kubelet.environment import NODE_NAME
from kubelet.images import Images
from kubelet.pod import PodLife

PODS = f"/api/v1/pods?fieldSelector=spec.nodeName%3D{NODE_NAME}"
# From this version on istiod injects its sidecar as a native one: an init container that stays.
VERSION = "v1.36.3"
# Much more than there is: nothing here is held back by a request that this machine cannot meet.
_CAPACITY = {"cpu": "64", "memory": "256Gi", "pods": "500"}
_UNKNOWN = ("bootID", "containerRuntimeVersion", "kernelVersion", "machineID", "osImage", "systemUUID")


class Node:
    """A running node; `pods` are by uid."""

    def __init__(self, api: Api, images: Images, folder: Path) -> None:
        self._api, self._images, self._folder = api, images, folder
        self.logs = folder / "logs"
        self.logs.mkdir(parents=True)
        self.pods: dict[str, PodLife] = {}
        self._number = 0
        self._register()
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()

    def life_of(self, namespace: str, name: str) -> PodLife:
        """The running Pod of that name, the newest of them; KeyError if there is none."""
        for life in reversed(list(self.pods.values())):
            metadata = life.pod["metadata"]
            if (metadata["namespace"], metadata["name"]) == (namespace, name) and life.is_alive():
                return life
        raise KeyError(f"{namespace}/{name}")

    def _register(self) -> None:
        labels = {"kubernetes.io/hostname": NODE_NAME, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"}
        node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE_NAME, "labels": labels}}
        self._api.create("/api/v1/nodes", node)
        versions = {"kubeletVersion": VERSION, "kubeProxyVersion": VERSION, "architecture": "amd64", "operatingSystem": "linux"}
        status = {
            "nodeInfo": versions | dict.fromkeys(_UNKNOWN, "-"),
            "capacity": _CAPACITY,
            "allocatable": _CAPACITY,
            "conditions": [{"type": "Ready", "status": "True"}],
        }
        self._api.patch(f"/api/v1/nodes/{NODE_NAME}/status", {"status": status})
        # Set on a new node, and lifted by a controller that does not run here.
        self._api.patch(f"/api/v1/nodes/{NODE_NAME}", {"spec": {"taints": None}})

    def _watch(self) -> None:
        while True:
            try:
                for kind, pod in self._api.watch(PODS):
                    self._on_event(kind, pod)
            except (OSError, ApiError):
                # The API server is going away, or busy; the next watch begins with all that is there.
                threading.Event().wait(1)

    def _on_event(self, kind: str, pod: dict) -> None:
        metadata = pod["metadata"]
        life = self.pods.get(metadata["uid"])
        if kind == "DELETED":
            if life:
                life.delete(0, forced=True)
        elif life is None:
            self._start(pod)
        elif "deletionTimestamp" in metadata:
            life.delete(metadata.get("deletionGracePeriodSeconds", 30))

    def _start(self, pod: dict) -> None:
        """A Pod that is deleted already gets its life too: one that ends at once."""
        self._number += 1
        folder = self._folder / "pods" / pod["metadata"]["uid"]
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        life = PodLife(self._api, pod, self._images, self._number, folder, self.logs)
        self.pods[pod["metadata"]["uid"]] = life
        if "deletionTimestamp" in pod["metadata"]:
            life.delete(0)

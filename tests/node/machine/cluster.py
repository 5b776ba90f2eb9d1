"""A cluster of one real node: the control plane and the names of tests/mesh, and Debian's and the kit's programs for the rest."""

import json
import shutil
import subprocess
from pathlib import Path

from cluster import mesh as played
from cluster.control_plane import API_PORT, ISTIO_NAMESPACE, ISTIOD_NAME, TOKEN, ControlPlane
from cluster.names import Names
from cluster.registry import NAME as REGISTRY
from cluster.waiting import until
from harness.processes import Process
from kubelet.api import Api
from kubelet.sandbox import NODE_ADDRESS, make_bridge

from machine import metrics
from machine.images import archive, images
from machine.node import NAME, START_SECONDS, Node, prepare

_INJECTOR = f"/api/v1/namespaces/{ISTIO_NAMESPACE}/configmaps/istio-sidecar-injector"
VOLUMES = 2
_REQUEST_HEADERS = ("username-headers=X-Remote-User", "group-headers=X-Remote-Group", "extra-headers-prefix=X-Remote-Extra-")


class NodesControlPlane(ControlPlane):
    """It calls the kubelet, for logs and exec, and is called by its address."""

    _CONTROLLERS = "*,-node-ipam-controller,-node-route-controller,-service-lb-controller"

    @property
    def client_ca(self) -> Path:
        return self._folder / "kubelet-ca.crt"

    @property
    def client(self) -> tuple[Path, Path]:
        """Certificate and key that the kubelet knows."""
        return self._folder / "kubelet-client.crt", self._folder / "kubelet-client.key"

    def _of_the_node(self) -> list[str]:
        self._make_client()
        certificate, key = self.client
        kubelets = [f"--kubelet-client-certificate={certificate}", f"--kubelet-client-key={key}", "--kubelet-preferred-address-types=InternalIP"]
        # The same certificate for the APIs that others serve: metrics-server's.
        others = [f"--proxy-client-cert-file={certificate}", f"--proxy-client-key-file={key}", f"--requestheader-client-ca-file={self.client_ca}"]
        others += [f"--requestheader-{each}" for each in _REQUEST_HEADERS] + ["--enable-aggregator-routing=true"]
        return ["--bind-address=0.0.0.0", f"--advertise-address={NODE_ADDRESS}", *kubelets, *others]

    def _make_client(self) -> None:
        """What the API server shows the kubelet."""

        def openssl(*arguments: str) -> None:
            subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *arguments], cwd=self._folder, check=True, capture_output=True)

        openssl("-keyout", "kubelet-ca.key", "-out", "kubelet-ca.crt", "-subj", "/CN=kubelet-client-ca")
        issuer = ("-CA", "kubelet-ca.crt", "-CAkey", "kubelet-ca.key", "-addext", "basicConstraints=critical,CA:FALSE")
        openssl("-keyout", "kubelet-client.key", "-out", "kubelet-client.crt", "-subj", "/O=system:masters/CN=kube-apiserver-kubelet-client", *issuer)


class Cluster(played.Mesh):
    """As tests/mesh has it, with a real node."""

    def __init__(self, kit: Path, folder: Path) -> None:
        played.refuse_a_shared_network()
        prepare()
        self._kit, self._folder = kit, folder
        self._metrics: Process | None = None
        make_bridge()
        api = Api("127.0.0.1", API_PORT, TOKEN)
        self.names = Names(api, {ISTIOD_NAME: NODE_ADDRESS, REGISTRY.partition(":")[0]: NODE_ADDRESS})
        played.resolve_here(folder)
        self.control_plane = NodesControlPlane(kit, folder / "control-plane", REGISTRY)
        self.api, self.kubectl = api, self.control_plane.kubectl
        self._use_the_cni_plugin()
        self.node = Node(kit, folder / "node", self.control_plane.kubeconfig, self.control_plane.client_ca)
        self._start_node(kit, folder)
        for number in range(VOLUMES):
            path = folder / "volumes" / str(number)
            path.mkdir(parents=True)
            # kubelet gives a hostPath to no group.
            path.chmod(0o777)
            self._offer_volume(f"volume-{number}", path)

    def measure(self) -> None:
        """Starts what the autoscaler gets its figures from."""
        if self._metrics is None:
            self._metrics = metrics.start(self._kit, self.control_plane, self._folder / "metrics", self.control_plane.client, self.apply)

    def stop(self) -> None:
        if self._metrics is not None:
            self._metrics.kill()
        self.node.stop()
        self.control_plane.stop()
        # A gigabyte, of no use to a reader of logs.
        for folder in (self._folder / "images", self.node.folder / "containerd"):
            shutil.rmtree(folder, ignore_errors=True)
        (self._folder / "images.tar").unlink(missing_ok=True)

    def _start_node(self, kit: Path, folder: Path) -> None:
        proxy = json.loads(self.api.get(_INJECTOR)["data"]["values"])["global"]["tag"]
        self.node.start_runtime(archive(images(kit, proxy, folder / "images"), folder / "images.tar"))
        self.node.start()
        until(self._node_is_ready, START_SECONDS, "a Ready node")
        self.node.start_policies()

    def _node_is_ready(self) -> bool:
        found = self.found(f"/api/v1/nodes/{NAME}")
        conditions = {each["type"]: each["status"] for each in (found or {}).get("status", {}).get("conditions", [])}
        return conditions.get("Ready") == "True"

    def _use_the_cni_plugin(self) -> None:
        values = json.loads(self.api.get(_INJECTOR)["data"]["values"])
        values.setdefault("pilot", {})["cni"] = {"enabled": True, "provider": "default"}
        self.api.patch(_INJECTOR, {"data": {"values": json.dumps(values)}})

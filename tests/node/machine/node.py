"""The node's programs, each from Debian or the kit: containerd, kubelet, kube-proxy, kube-router, Istio's CNI plugin."""

import json
import os
import shutil
import subprocess
from pathlib import Path

from cluster.waiting import until
from harness.processes import Process
from kubelet.sandbox import BRIDGE, NODE_ADDRESS

NAME = "node0"
PODS = "10.244.0.0/16"
SOCKET = "/run/containerd/containerd.sock"
# Its last part is what scripts/test.sh removes when the namespaces have ended.
CGROUP = "embedding-gateway-node"
START_SECONDS = 240
_DEBIANS_PLUGINS = Path("/usr/lib/cni")
# Of the machine itself, and hidden from it: nothing stays when the mount namespace ends.
_OWN_FOLDERS = ("/run", "/var/log", "/var/lib/kubelet", "/var/lib/cni", "/etc/cni")


def prepare() -> None:
    """Mounts, cgroups and kernel settings; before anything else, in namespaces of its own."""
    subprocess.run(["mount", "--make-rshared", "/"], check=True)
    for folder in _OWN_FOLDERS:
        Path(folder).mkdir(parents=True, exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", folder], check=True)
    for folder in ("/run/netns", "/run/lock", "/var/log/pods"):
        Path(folder).mkdir(parents=True)
    subprocess.run(["hostname", NAME], check=True)
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
    for controller in Path("/sys/fs/cgroup").iterdir():
        (controller / CGROUP).mkdir(exist_ok=True)
    for file in ("cpuset.cpus", "cpuset.mems"):
        cpuset = Path("/sys/fs/cgroup/cpuset")
        (cpuset / CGROUP / file).write_text((cpuset / file).read_text())


class Node:
    """Running and Ready when `start` returns."""

    def __init__(self, kit: Path, folder: Path, kubeconfig: Path, client_ca: Path) -> None:
        folder.mkdir(parents=True)
        self._kit, self.folder, self._kubeconfig, self._client_ca = kit, folder, kubeconfig, client_ca
        self.processes: dict[str, Process] = {}

    def start_runtime(self, archive: Path) -> None:
        """containerd, and the images in it."""
        self._write_plugins()
        self._start("containerd", "containerd", "-c", self._write("containerd.toml", self._containerd()))
        until(lambda: self._ctr("version").returncode == 0, START_SECONDS, "containerd")
        done = self._ctr("images", "import", "--all-platforms", str(archive))
        assert done.returncode == 0, done.stdout + done.stderr

    def start(self) -> None:
        binaries = self._kit / "bin"
        kubelet = self._write("kubelet.json", json.dumps(self._kubelet()))
        state = self.folder / "kubelet"
        where = (f"--root-dir={state}", f"--cert-dir={state}/pki", f"--node-ip={NODE_ADDRESS}", f"--hostname-override={NAME}")
        self._start("kubelet", binaries / "kubelet", f"--config={kubelet}", f"--kubeconfig={self._kubeconfig}", *where)
        self._start("kube-proxy", binaries / "kube-proxy", f"--config={self._write('kube-proxy.json', json.dumps(self._kube_proxy()))}")

    def start_policies(self) -> None:
        """When the node has registered: the controller ends without it."""
        flags = ("--run-router=false", "--run-firewall=true", "--run-service-proxy=false", "--iptables-sync-period=30s", "--metrics-port=0", "--health-port=0")
        names = (f"--kubeconfig={self._kubeconfig}", f"--hostname-override={NAME}", "--service-cluster-ip-range=10.96.0.0/16")
        self._start("kube-router", self._kit / "bin/kube-router", *flags, *names)

    def alive(self, name: str) -> bool:
        return self.processes[name].exit_code is None

    def stop(self) -> None:
        for process in reversed(self.processes.values()):
            process.kill()

    def _ctr(self, *arguments: str) -> subprocess.CompletedProcess:
        return subprocess.run(["ctr", "--address", SOCKET, "-n", "k8s.io", *arguments], capture_output=True, text=True)

    def _start(self, name: str, *command) -> None:
        self.processes[name] = Process(command, self.folder / f"{name}.log", env=os.environ)

    def _write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.write_text(text)
        return path

    def _write_plugins(self) -> None:
        plugins, settings = self.folder / "plugins", self.folder / "cni"
        shutil.copytree(_DEBIANS_PLUGINS, plugins)
        shutil.copy(self._kit / "bin/istio-cni", plugins)
        settings.mkdir()
        agent = Path("/run/istio-cni")
        agent.mkdir()
        shutil.copy(self._kubeconfig, agent / "istio-cni-kubeconfig")
        addresses = {"type": "host-local", "dataDir": "/run/cni-addresses", "ranges": [[{"subnet": PODS, "gateway": NODE_ADDRESS, "rangeStart": "10.244.0.10"}]]}
        bridge = {"type": "bridge", "bridge": BRIDGE, "isGateway": True, "ipMasq": False, "hairpinMode": True}
        bridge["ipam"] = addresses | {"routes": [{"dst": "0.0.0.0/0"}]}
        istio = {"type": "istio-cni", "plugin_log_level": "info", "cni_agent_run_dir": str(agent), "ambient_enabled": False}
        istio |= {"exclude_namespaces": ["istio-system", "kube-system"], "pod_namespace": "istio-system"}
        chain = {"cniVersion": "1.0.0", "name": "pods", "plugins": [bridge, {"type": "portmap", "capabilities": {"portMappings": True}}, istio]}
        (settings / "10-pods.conflist").write_text(json.dumps(chain))

    def _containerd(self) -> str:
        # Here is no CAP_SYS_RESOURCE, without which a score cannot be lowered.
        return f"""version = 2
root = "{self.folder}/containerd"
state = "/run/containerd"
oom_score = 0
[grpc]
  address = "{SOCKET}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "registry.k8s.io/pause:3.10"
  netns_mounts_under_state_dir = true
  disable_apparmor = true
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{self.folder}/plugins"
    conf_dir = "{self.folder}/cni"
"""

    def _kubelet(self) -> dict:
        return {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "failCgroupV1": False,
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": f"/{CGROUP}",
            "oomScoreAdj": 0,
            "failSwapOn": False,
            "containerRuntimeEndpoint": f"unix://{SOCKET}",
            "authentication": {"anonymous": {"enabled": False}, "webhook": {"enabled": False}, "x509": {"clientCAFile": str(self._client_ca)}},
            "authorization": {"mode": "AlwaysAllow"},
            "clusterDNS": [NODE_ADDRESS],
            "clusterDomain": "cluster.local",
            "resolvConf": "/etc/resolv.conf",
            "volumePluginDir": str(self.folder / "volume-plugins"),
            "imageGCHighThresholdPercent": 100,
            "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%", "nodefs.inodesFree": "1%"},
            "nodeStatusUpdateFrequency": "5s",
        }

    def _kube_proxy(self) -> dict:
        return {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "mode": "iptables",
            "clusterCIDR": PODS,
            "hostnameOverride": NAME,
            "clientConnection": {"kubeconfig": str(self._kubeconfig)},
            "conntrack": {"maxPerCore": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
            "healthzBindAddress": "127.0.0.1:10256",
            "metricsBindAddress": "127.0.0.1:10249",
            "oomScoreAdj": 0,
            "iptables": {"minSyncPeriod": "100ms"},
        }

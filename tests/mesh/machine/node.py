"""The node's programs, each from Debian or the kit: containerd, kubelet, kube-proxy, kube-router, Istio's CNI plugin."""

import glob
import hashlib
import json
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

from cluster.network import BRIDGE, DNS_ADDRESS, NODE_ADDRESS, PODS, SERVICES
from cluster.waiting import until
from harness.processes import Process

NAME = "node0"
SOCKET = "/run/containerd/containerd.sock"
# Its last part is what scripts/test.sh removes when the namespaces have ended.
CGROUP = "embedding-gateway-node"
START_SECONDS = 240
_DEBIANS_PLUGINS = Path("/usr/lib/cni")
# Of the machine itself, and hidden from it: nothing stays when the mount namespace ends.
_OWN_FOLDERS = ("/run", "/var/log", "/var/lib/kubelet", "/var/lib/cni", "/etc/cni")


def _found(folder: Path, pattern: str) -> Iterator[Path]:
    """What is there; unlike Path.glob, it takes no offence at folders that are removed meanwhile."""
    return (folder / each for each in glob.iglob(pattern, root_dir=folder, recursive=True))


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

    def __init__(self, kit: Path, folder: Path, kubeconfig: Path, client_ca: Path, registry: str) -> None:
        folder.mkdir(parents=True)
        self._kit, self.folder, self._kubeconfig, self._client_ca, self._registry = kit, folder, kubeconfig, client_ca, registry
        self.processes: dict[str, Process] = {}
        self._pod_logs, self._kept_logs = folder / "pod-logs", folder / "logs"
        self._ended = threading.Event()

    def start_runtime(self) -> None:
        """containerd, which pulls every image from the registry of the tests."""
        self._write_plugins()
        (self.folder / "registries/_default").mkdir(parents=True)
        (self.folder / "registries/_default/hosts.toml").write_text(f'[host."{self._registry}"]\n  capabilities = ["pull", "resolve"]\n')
        self._start("containerd", "containerd", "-c", self._write("containerd.toml", self._containerd()))
        until(lambda: self._ctr("version").returncode == 0, START_SECONDS, "containerd")

    def start(self) -> None:
        binaries = self._kit / "bin"
        kubelet = self._write("kubelet.json", json.dumps(self._kubelet()))
        state = self.folder / "kubelet"
        where = (f"--root-dir={state}", f"--cert-dir={state}/pki", f"--node-ip={NODE_ADDRESS}", f"--hostname-override={NAME}")
        self._start("kubelet", binaries / "kubelet", f"--config={kubelet}", f"--kubeconfig={self._kubeconfig}", *where)
        self._kept_logs.mkdir()
        threading.Thread(target=self._keep_logs, daemon=True).start()
        self._start("kube-proxy", binaries / "kube-proxy", f"--config={self._write('kube-proxy.json', json.dumps(self._kube_proxy()))}")

    def start_policies(self) -> None:
        """When the node has registered: the controller ends without it."""
        flags = ("--run-router=false", "--run-firewall=true", "--run-service-proxy=false", "--iptables-sync-period=30s", "--metrics-port=0", "--health-port=0")
        names = (f"--kubeconfig={self._kubeconfig}", f"--hostname-override={NAME}", f"--service-cluster-ip-range={SERVICES}")
        self._start("kube-router", self._kit / "bin/kube-router", *flags, *names)

    def run_in_network(self, container: str, *command: str, timeout: float) -> subprocess.CompletedProcess:
        """A program of this machine in the network of this container."""
        tasks = (line.split() for line in self._ctr("tasks", "list").stdout.splitlines())
        process = next(each[1] for each in tasks if each[0] == container)
        entered = ["nsenter", f"--net=/proc/{process}/ns/net", "--", *command]
        return subprocess.run(entered, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=timeout)

    def memory(self, container: str, file: str) -> str:
        """What this file of the container's control group says; empty if it is gone."""
        groups = Path("/sys/fs/cgroup/memory", CGROUP)
        found = next(_found(groups, f"**/{container}"), None)
        return (found / file).read_text() if found else ""

    def mounted(self, pod: str, file: str) -> str:
        """The SHA-256 of a file in a volume of the pod with this UID, as kubelet has it; empty if there is none."""
        path = self.folder / "kubelet/pods" / pod / f"volumes/kubernetes.io~{file}"
        return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else ""

    def alive(self, name: str) -> bool:
        return self.processes[name].exit_code is None

    def stop(self) -> None:
        self._ended.set()
        for process in reversed(self.processes.values()):
            process.kill()
        # Of no use to a reader of logs, nor to the search for keys.
        for each in ("containerd", "plugins", "kubelet", self._pod_logs.name):
            shutil.rmtree(self.folder / each, ignore_errors=True)

    def _keep_logs(self) -> None:
        """kubelet removes the logs of a Pod with it. The end of the session searches them all for keys."""
        while not self._ended.wait(1):
            for log in _found(self._pod_logs, "*/*/*.log"):
                kept = self._kept_logs / "_".join(log.relative_to(self._pod_logs).parts)
                try:
                    kept.hardlink_to(log)
                except (FileExistsError, FileNotFoundError):
                    # Kept already, or removed just now.
                    continue

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
    snapshotter = "{_snapshotter(self.folder)}"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "{self.folder}/registries"
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
            "clusterDNS": [DNS_ADDRESS],
            "clusterDomain": "cluster.local",
            "resolvConf": "/etc/resolv.conf",
            "volumePluginDir": str(self.folder / "volume-plugins"),
            "imageGCHighThresholdPercent": 100,
            "serializeImagePulls": False,
            # A mounted ConfigMap or Secret follows its object as late as this; a minute is the default.
            "syncFrequency": "10s",
            # `kubectl logs` reads what was written since the last rotation.
            "containerLogMaxSize": "500Mi",
            "podLogsDir": str(self._pod_logs),
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


def _snapshotter(folder: Path) -> str:
    """An overlay cannot lie on another, as a container's root may be one: then each container gets a copy of its image."""
    places = {name: folder / "overlay" / name for name in ("lowerdir", "upperdir", "workdir", "merged")}
    for place in places.values():
        place.mkdir(parents=True)
    merged = places.pop("merged")
    options = ",".join(f"{name}={place}" for name, place in places.items())
    if subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, merged], capture_output=True).returncode != 0:
        return "native"
    subprocess.run(["umount", merged], check=True)
    return "overlayfs"

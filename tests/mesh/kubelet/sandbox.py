"""What the containers of one Pod share: network, host name and IPC, held by a process that sleeps.

The namespaces have no names: they end with their last process.
"""

import subprocess
from pathlib import Path

BRIDGE = "br0"
# The node's own address: the gateway of all Pods, and where what runs outside of Pods is met.
NODE_ADDRESS = "10.244.0.1"
PREFIX_LENGTH = 16
# Names end here or at the node's DNS server; a Pod looks below its own namespace first, as in every cluster.
_RESOLV_CONF = "nameserver {node}\nsearch {namespace}.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5\n"


def address_of(number: int) -> str:
    """The address of the Pod with this number, from 1; the first ones are the network's and the node's."""
    return f"10.244.{number // 250}.{number % 250 + 2}"


def make_bridge() -> None:
    for command in (
        f"link add {BRIDGE} type bridge",
        f"addr add {NODE_ADDRESS}/{PREFIX_LENGTH} dev {BRIDGE}",
        f"link set {BRIDGE} up",
    ):
        _run("ip", *command.split())


class Sandbox:
    """One Pod's namespaces and the files of its identity."""

    def __init__(self, pod: dict, number: int, folder: Path) -> None:
        self.address = address_of(number)
        self._link = f"veth{number}"
        self._folder = folder
        name = pod["metadata"]["name"]
        self.hostname = pod["spec"].get("hostname", name)[:63]
        self._pause = subprocess.Popen(
            ["unshare", "--net", "--uts", "--ipc", "sh", "-c", 'hostname "$1" && echo && exec sleep infinity', "-", self.hostname],
            stdout=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
        )
        # The line says that the namespaces are there.
        self._pause.stdout.readline()
        self._connect()
        self._set(pod["spec"].get("securityContext", {}).get("sysctls", []))
        self._write_files(pod)

    def enter(self) -> list[str]:
        """The command line that runs what follows it in this Pod's network."""
        namespaces = f"/proc/{self._pause.pid}/ns"
        return ["nsenter", f"--net={namespaces}/net", f"--uts={namespaces}/uts", f"--ipc={namespaces}/ipc", "--"]

    def files(self) -> list[tuple[str, str]]:
        """(source, target) of the files that every container gets."""
        return [(str(self._folder / name), f"/etc/{name}") for name in ("hosts", "hostname", "resolv.conf")]

    def run(self, *command: str, timeout: float) -> subprocess.CompletedProcess:
        """Runs a program of this machine in the Pod's network, as if it were one of the Pod's."""
        return subprocess.run([*self.enter(), *command], capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=timeout)

    def close(self) -> None:
        self._pause.kill()
        self._pause.wait()

    def _connect(self) -> None:
        _run("ip", "link", "add", self._link, "type", "veth", "peer", "name", "eth0", "netns", str(self._pause.pid))
        _run("ip", "link", "set", self._link, "master", BRIDGE, "up")
        for command in (
            f"addr add {self.address}/{PREFIX_LENGTH} dev eth0",
            "link set eth0 up",
            "link set lo up",
            f"route add default via {NODE_ADDRESS}",
        ):
            _run(*self.enter(), "ip", *command.split())

    def _set(self, sysctls: list[dict]) -> None:
        for each in sysctls:
            _run(*self.enter(), "sysctl", "--quiet", "--write", f"{each['name']}={each['value']}")

    def _write_files(self, pod: dict) -> None:
        self._folder.mkdir(parents=True)
        self._folder.chmod(0o755)
        hosts = f"127.0.0.1\tlocalhost\n::1\tlocalhost\n{self.address}\t{self.hostname}\n"
        resolv_conf = _RESOLV_CONF.format(node=NODE_ADDRESS, namespace=pod["metadata"]["namespace"])
        contents = {"hosts": hosts, "hostname": f"{self.hostname}\n", "resolv.conf": resolv_conf}
        for name, content in contents.items():
            (self._folder / name).write_text(content)
            (self._folder / name).chmod(0o644)


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, stdin=subprocess.DEVNULL)

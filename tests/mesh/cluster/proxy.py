"""What one Envoy in the cluster says about itself: which endpoints it would send requests to, and which filters it runs."""

import json
from dataclasses import dataclass
from subprocess import CompletedProcess

from cluster.mesh import Mesh

SECONDS = 60
_ADMIN = "http://127.0.0.1:15000"


@dataclass(frozen=True)
class Proxy:
    """The proxy of one Pod, as sidecar or as gateway."""

    mesh: Mesh
    namespace: str
    pod: str

    def endpoints(self, service: str, port: int) -> set[str]:
        """The addresses of a Service that it holds for healthy."""
        cluster = f"outbound|{port}||{service}."
        healthy = [line.split("::") for line in self._admin("clusters").splitlines() if line.endswith("::health_flags::healthy")]
        return {parts[1].partition(":")[0] for parts in healthy if parts[0].startswith(cluster)}

    def filters(self) -> set[str]:
        """The names of the filters that new connections meet."""
        entries = json.loads(self._admin("config_dump?resource=dynamic_listeners")).get("configs", [])
        listeners = [entry["active_state"]["listener"] for entry in entries if "active_state" in entry]
        chains = [chain for listener in listeners for chain in listener.get("filter_chains", [])]
        return {one["name"] for chain in chains for each in chain["filters"] for one in each["typed_config"].get("http_filters", [])}

    def modules(self) -> dict[str, str]:
        """The file of each wasm filter, by its role; those of old connections too."""
        found = {}
        for entry in json.loads(self._admin("config_dump?resource=ecds_filters")).get("configs", []):
            plugin = entry["ecds_filter"]["typed_config"]["config"]
            found[json.loads(plugin["configuration"]["value"])["role"]] = plugin["vm_config"]["code"]["local"]["filename"]
        return found

    def bootstrap(self) -> dict:
        """What it started with: pilot-agent's own, and what was merged into it."""
        (found,) = [each["bootstrap"] for each in json.loads(self._admin("config_dump"))["configs"] if "bootstrap" in each]
        return found

    def answers(self) -> bool:
        """Whether it has started."""
        return self._ask("server_info").returncode == 0

    def _admin(self, path: str) -> str:
        done = self._ask(path)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def _ask(self, path: str) -> CompletedProcess:
        """`pilot-agent request` says more than this on its standard output."""
        pod = self.mesh.api.get(f"/api/v1/namespaces/{self.namespace}/pods/{self.pod}")
        return self.mesh.run_in(pod, "curl", "--silent", "--show-error", "--fail", "--max-time", str(SECONDS), f"{_ADMIN}/{path}", timeout=2 * SECONDS)

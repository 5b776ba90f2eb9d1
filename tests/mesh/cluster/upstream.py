"""An upstream as the cluster sees it, api.openai.com if no other is named: the offline stand-in behind TLS, at an address outside."""

import json
import subprocess
from pathlib import Path

from harness.client import answers, send
from harness.paths import envoy_binary
from harness.processes import Process
from harness.programs import STANDIN

from cluster.network import BRIDGE
from cluster.waiting import until

NAME = "api.openai.com"
# Reserved for documentation (RFC 5737): no host has it.
ADDRESS = "203.0.113.10"
_PLAIN_PORT = 8081
START_SECONDS = 60


class Upstream:
    """Running when made. `certificate` is the authority that signed for its name."""

    def __init__(self, folder: Path, name: str = NAME, address: str = ADDRESS) -> None:
        folder.mkdir(parents=True)
        subprocess.run(["ip", "addr", "add", f"{address}/32", "dev", BRIDGE], check=True)
        self.certificate = folder / "ca.crt"
        _make_certificates(folder, name)
        plain = f"{address}:{_PLAIN_PORT}"
        self._processes = [Process([STANDIN, "--listen", plain], folder / "standin.log")]
        configuration = folder / "tls.json"
        configuration.write_text(json.dumps(_terminator(folder, address)))
        arguments = ["--config-path", configuration, "--disable-hot-restart", "--concurrency", "1"]
        self._processes.append(Process([envoy_binary(), *arguments], folder / "tls.log"))
        self.url = f"http://{plain}"
        until(lambda: answers(self.url, "/stats"), START_SECONDS, "the stand-in")

    def stats(self) -> dict:
        """What it was asked: see tests/openai-standin/README.md."""
        return send(self.url, "GET", "/stats").json["embeddings"]

    def keys(self) -> set[str]:
        """The SHA-256 of each with which it was asked."""
        return set(send(self.url, "GET", "/stats").json["keys"])

    def fail(self, *faults: dict) -> None:
        """In place of those before; without any, it is well."""
        assert send(self.url, "PUT", "/faults", list(faults)).status < 300

    def forget(self) -> None:
        assert send(self.url, "DELETE", "/stats").status < 300

    def stop(self) -> None:
        for process in self._processes:
            process.kill()


def _make_certificates(folder: Path, name: str) -> None:
    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    key = ["-newkey", "rsa:2048", "-nodes", "-days", "2"]
    openssl("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.crt", "-subj", "/CN=test authority")
    issuer = ["-CA", "ca.crt", "-CAkey", "ca.key", "-addext", "basicConstraints=critical,CA:FALSE"]
    names = ["-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}"]
    openssl("req", "-x509", *key, "-keyout", "leaf.key", "-out", "leaf.crt", *issuer, *names)


def _terminator(folder: Path, address: str) -> dict:
    """An Envoy that ends TLS on 443 and hands the bytes to the stand-in."""
    certificate = {"certificate_chain": {"filename": str(folder / "leaf.crt")}, "private_key": {"filename": str(folder / "leaf.key")}}
    tls = {
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
            "common_tls_context": {"tls_certificates": [certificate], "alpn_protocols": ["http/1.1"]},
        },
    }
    proxy = {
        "name": "envoy.filters.network.tcp_proxy",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
            "stat_prefix": "standin",
            "cluster": "standin",
        },
    }
    endpoint = {"lb_endpoints": [{"endpoint": {"address": _address(address, _PLAIN_PORT)}}]}
    cluster = {"name": "standin", "type": "STATIC", "load_assignment": {"cluster_name": "standin", "endpoints": [endpoint]}}
    listener = {"address": _address(address, 443), "filter_chains": [{"filters": [proxy], "transport_socket": tls}]}
    return {"static_resources": {"listeners": [listener], "clusters": [cluster]}}


def _address(address: str, port: int) -> dict:
    return {"socket_address": {"address": address, "port_value": port}}

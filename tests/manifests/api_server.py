"""A real API server, with Istio's definitions and nothing that acts on its objects: it takes or refuses what it is sent."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import yaml

from harness.ports import free_port
from harness.processes import Process
from harness.waiting import eventually

_TOKEN = "admin"
# Two Go programs start on two cores that others use too.
_START_SECONDS = 180
_COMMAND_SECONDS = 300


def lacking() -> str:
    """Why there can be none here; empty if there can."""
    kit = Path(os.environ.get("MESH_KIT", "/nonexistent"))
    missing = [name for name in ("etcd", "kubectl") if not shutil.which(name)]
    missing += [str(path) for path in (kit / "bin/kube-apiserver", kit / "istio.yaml") if not path.exists()]
    return f"MESH_KIT: there is no {', '.join(missing)}" if missing else ""


class ApiServer:
    """Running when made."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._kit = folder, Path(os.environ["MESH_KIT"])
        store, peers, self._port = free_port(), free_port(), free_port()
        key = folder / "service-accounts.key"
        subprocess.run(["openssl", "genrsa", "-out", key, "2048"], check=True, capture_output=True)
        (folder / "tokens.csv").write_text(f'{_TOKEN},admin,admin,"system:masters"\n')
        self._write_kubeconfig()
        client, peer = f"http://127.0.0.1:{store}", f"http://127.0.0.1:{peers}"
        addresses = (f"--listen-client-urls={client}", f"--advertise-client-urls={client}", f"--listen-peer-urls={peer}")
        cluster = (f"--initial-advertise-peer-urls={peer}", f"--initial-cluster=default={peer}", "--unsafe-no-fsync")
        self._etcd = Process(["etcd", "--data-dir", folder / "etcd", *addresses, *cluster], folder / "etcd.log")
        self._server = Process([self._kit / "bin/kube-apiserver", *self._flags(client, key)], folder / "kube-apiserver.log")
        eventually(lambda: self.kubectl("get", "--raw", "/readyz").returncode == 0, _START_SECONDS, "a ready API server")
        self._define()

    def kubectl(self, *arguments: str) -> subprocess.CompletedProcess:
        environment = os.environ | {"KUBECONFIG": str(self._folder / "kubeconfig")}
        return subprocess.run(["kubectl", *arguments], capture_output=True, text=True, env=environment, timeout=_COMMAND_SECONDS)

    def stop(self) -> None:
        self._server.kill()
        self._etcd.kill()

    def _flags(self, store: str, key: Path) -> list[str]:
        accounts = ["issuer=https://kubernetes.default.svc", f"key-file={key}", f"signing-key-file={key}"]
        return [
            f"--etcd-servers={store}",
            f"--secure-port={self._port}",
            "--bind-address=127.0.0.1",
            f"--cert-dir={self._folder / 'certificates'}",
            *(f"--service-account-{each}" for each in accounts),
            f"--token-auth-file={self._folder / 'tokens.csv'}",
            "--authorization-mode=RBAC",
            "--service-cluster-ip-range=10.96.0.0/16",
        ]

    def _define(self) -> None:
        """Istio's kinds, and the namespace that is not ours."""
        everything = yaml.load_all((self._kit / "istio.yaml").read_text(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        path = self._folder / "definitions.json"
        path.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": [each for each in everything if each and each["kind"] == "CustomResourceDefinition"]}))
        for arguments in (("apply", "--server-side", "--filename", str(path)), ("create", "namespace", "istio-system")):
            done = self.kubectl(*arguments)
            assert done.returncode == 0, done.stderr
        done = self.kubectl("wait", "--for=condition=Established", "--timeout=120s", "customresourcedefinitions", "--all")
        assert done.returncode == 0, done.stderr

    def _write_kubeconfig(self) -> None:
        cluster = {"server": f"https://127.0.0.1:{self._port}", "insecure-skip-tls-verify": True}
        configuration = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "test", "cluster": cluster}],
            "users": [{"name": "admin", "user": {"token": _TOKEN}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "admin"}}],
            "current-context": "test",
        }
        (self._folder / "kubeconfig").write_text(json.dumps(configuration))

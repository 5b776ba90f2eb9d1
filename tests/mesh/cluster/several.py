"""The components `upstreams` and `body-hash-file` in the cluster, and what they want of their user: keys, servers, a module."""

import base64
import hashlib
from pathlib import Path

from harness.paths import ROOT
from harness.secrets import secret

from cluster.gateway import NAMESPACE, VARNISH, WAVE_SECONDS, Gateway
from cluster.overlay import MANIFESTS
from cluster.registry import run
from cluster.upstream import Upstream
from cluster.waiting import until

LAYER = Path(__file__).parents[1] / "several"
COMPONENTS = ("upstreams", "body-hash-file")
# The EnvoyFilter of `body-hash-file` hashes on Varnish's pods alone.
_INGRESS = "- ../../components/body-hash-ingress\n"
_DEV = "overlays/dev/kustomization.yaml"
FILE = "components/upstreams/upstreams.toml"
MODULE = "components/body-hash-file/plugin.wasm"
AZURE, AZURE_ADDRESS = "example.openai.azure.com", "203.0.113.11"
LOCAL_NAMESPACE, LOCAL = "embedding-models", "tei"
LOCAL_MODEL = "BAAI/bge-m3"


class Several:
    """In place of what runs; `caller` is the one key that the gateway takes."""

    def __init__(self, gateway: Gateway, folder: Path) -> None:
        self._gateway, self._mesh = gateway, gateway.mesh
        self.azure = Upstream(folder / "azure", AZURE, AZURE_ADDRESS)
        self._mesh.names.add(AZURE, AZURE_ADDRESS)
        self.caller, self._openai = secret("caller"), secret("openai")
        self._path = gateway.overlay.path

    def start(self) -> None:
        before = self._gateway.overlay.objects()
        self._edit()
        self._start_local()
        self._bring("openai-secret", {"api-key": self._openai, "client-keys": hashlib.sha256(self.caller.encode()).hexdigest()})
        self._bring("upstream-secret", {"local": secret("local")})
        self.new_azure_key()
        self._replace(before)

    def new_azure_key(self) -> str:
        """The SHA-256 of one that the gateway is to use from now on."""
        key = secret("azure")
        self._bring("upstream-secret", {"azure": key})
        return hashlib.sha256(key.encode()).hexdigest()

    def apply(self) -> None:
        """Over what was applied without --server-side: kubectl does not know its own fields again, and asks for the other flag."""
        self._mesh.kubectl("apply", "--server-side", "--force-conflicts", "-k", self._gateway.overlay.path)

    def stop(self) -> None:
        self.azure.stop()
        self._gateway.overlay.path = self._path
        self._gateway.overlay.replace(_DEV, "- ../../components/body-hash\n", "- ../../components/body-hash\n" + _INGRESS)
        self._gateway.use()

    def _edit(self) -> None:
        overlay = self._gateway.overlay
        overlay.path = str(LAYER)
        overlay.replace(_DEV, _INGRESS, "")
        self._gateway.use(*COMPONENTS)
        # What the stand-ins differ in from those that they stand for: who certifies them, a path, the name of a model, a key.
        own = '\nca_file = "/etc/upstreams/ca.crt"'
        overlay.replace(FILE, '"https://api.openai.com/v1"', f'"https://api.openai.com/v1"{own}')
        overlay.replace(FILE, f'"https://{AZURE}/openai/v1"', f'"https://{AZURE}/v1"{own}')
        overlay.replace(FILE, "limits = { inputs = 32 }", f'limits = {{ inputs = 32 }}\nmodels = {{ "{LOCAL_MODEL}" = "text-embedding-ada-002" }}')
        overlay.replace(FILE, '"none"', '"file:/etc/upstream-keys/local"')
        overlay.replace("components/upstreams/kustomization.yaml", "  - upstreams.toml\n", "  - upstreams.toml\n  - ca.crt\n")
        authorities = (self._gateway.upstream.certificate, self.azure.certificate)
        (MANIFESTS / "components/upstreams/ca.crt").write_text("".join(each.read_text() for each in authorities))
        run([ROOT / "scripts/images.sh", "file"], {})

    def _start_local(self) -> None:
        """The server inside: a Pod outside of the mesh."""
        labels = {"app": LOCAL}
        container = {"name": LOCAL, "image": "docker.io/library/openai-standin:1", "args": ["--listen", "0.0.0.0:8080"]}
        metadata = {"name": LOCAL, "namespace": LOCAL_NAMESPACE}
        ports = [{"name": "http", "port": 8080}]
        account = f"/api/v1/namespaces/{LOCAL_NAMESPACE}/serviceaccounts/default"
        self._mesh.kubectl("create", "namespace", LOCAL_NAMESPACE)
        until(lambda: self._mesh.found(account), WAVE_SECONDS, "its account")
        pod = {"metadata": metadata | {"labels": labels}, "spec": {"containers": [container], "terminationGracePeriodSeconds": 0}}
        service = {"metadata": metadata, "spec": {"selector": labels, "ports": ports}}
        self._mesh.apply([{"apiVersion": "v1", "kind": "Pod"} | pod, {"apiVersion": "v1", "kind": "Service"} | service])

    def _bring(self, name: str, data: dict[str, str]) -> None:
        """By the API: no file holds a key."""
        path = f"/api/v1/namespaces/{NAMESPACE}/secrets"
        encoded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
        if self._mesh.found(f"{path}/{name}"):
            self._mesh.api.patch(f"{path}/{name}", {"data": encoded})
        else:
            self._mesh.api.create(path, {"metadata": {"name": name}, "data": encoded})

    def _replace(self, before: list[dict]) -> None:
        """`kubectl apply` deletes nothing: what the components of before had brought is taken away by its name."""
        kept = {_identity(each) for each in self._gateway.overlay.objects()}
        gone = [each for each in before if _identity(each) not in kept and each["kind"] != "ConfigMap"]
        # A proxy without the mounted module would reject the EnvoyFilter that names it: all of Varnish goes before, and at once.
        # One after the other, and with grace, is test_updates.py.
        self._mesh.kubectl("-n", NAMESPACE, "scale", f"statefulset/{VARNISH}", "--replicas=0")
        self._mesh.kubectl("-n", NAMESPACE, "delete", "pods", "-l", f"app={VARNISH}", "--grace-period=1")
        self.apply()
        for each in gone:
            kind = f"{each['kind']}.{each['apiVersion'].partition('/')[0]}" if "/" in each["apiVersion"] else each["kind"]
            self._mesh.kubectl("delete", kind, each["metadata"]["name"], "-n", each["metadata"].get("namespace", NAMESPACE))
        until(lambda: self._mesh.unready(LOCAL_NAMESPACE) == [], WAVE_SECONDS, "the server inside")
        self._gateway.wait("several upstreams")
        self._gateway.wait_for_varnish_at_the_ingress()


def _identity(each: dict) -> tuple[str, str, str]:
    return each["kind"], each["metadata"].get("namespace", ""), each["metadata"]["name"]

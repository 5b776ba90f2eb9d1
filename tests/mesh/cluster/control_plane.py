"""A real Kubernetes and Istio control plane, from the binaries of MESH_KIT."""

import base64
import json
import os
import subprocess
from pathlib import Path

from harness.client import answers, send
from harness.processes import Process

from cluster import gateway_api
from cluster.api import JSON_PATCH, Api, ApiError
from cluster.authorization import EXTENSION
from cluster.network import NODE_ADDRESS, SERVICES
from cluster.waiting import until
from machine.images import ISTIOS_TAG

API_PORT = 6443
TOKEN = "admin"
ISTIO_NAMESPACE = "istio-system"
ISTIOD_NAME = f"istiod.{ISTIO_NAMESPACE}.svc"
_INJECTOR = f"/api/v1/namespaces/{ISTIO_NAMESPACE}/configmaps/istio-sidecar-injector"
ISTIOD = "http://127.0.0.1:8080"
ISTIOD_MONITORING = "http://127.0.0.1:15014"
# Three Go programs start on two cores that others use too.
START_SECONDS = 120
_REQUEST_HEADERS = ("username-headers=X-Remote-User", "group-headers=X-Remote-Group", "extra-headers-prefix=X-Remote-Extra-")
# Filters that only Istio's own build of Envoy has.
_NEEDS_ISTIOS_ENVOY = ("PILOT_ENABLE_METADATA_EXCHANGE", "PILOT_ENABLE_ALPN_FILTER")
_WEBHOOKS = (
    ("mutatingwebhookconfigurations", "istio-sidecar-injector"),
    ("validatingwebhookconfigurations", "istio-validator-istio-system"),
)


class ControlPlane:
    """Running when made; `kubeconfig` is for kubectl."""

    # Nothing here answers the rest: one network, no load balancers.
    _CONTROLLERS = "*,-node-ipam-controller,-node-route-controller,-service-lb-controller"

    def __init__(self, kit: Path, folder: Path, registry: str) -> None:
        folder.mkdir(parents=True)
        self._kit, self._folder, self._registry = kit, folder, registry
        self.api = Api("127.0.0.1", API_PORT, TOKEN)
        self.kubeconfig = folder / "kubeconfig"
        self._processes: list[Process] = []
        self._istiod: Process | None = None
        self._start_kubernetes()
        self._start_istio()

    @property
    def client_ca(self) -> Path:
        return self._folder / "kubelet-ca.crt"

    @property
    def client(self) -> tuple[Path, Path]:
        """Certificate and key that the kubelet knows."""
        return self._folder / "kubelet-client.crt", self._folder / "kubelet-client.key"

    def kubectl(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess:
        """Runs kubectl as the administrator; AssertionError with its words when it fails and `check` is on."""
        environment = os.environ | {"KUBECONFIG": str(self.kubeconfig)}
        done = subprocess.run(["kubectl", *arguments], capture_output=True, text=True, env=environment)
        assert not check or done.returncode == 0, f"kubectl {' '.join(arguments)}\n{done.stdout}{done.stderr}"
        return done

    def rejections(self) -> dict[str, float]:
        """How often proxies refused what istiod sent them, by istiod's own count; empty when they took everything."""
        lines = send(ISTIOD_MONITORING, "GET", "/metrics").body.decode().splitlines()
        counts = (line.rsplit(" ", 1) for line in lines if line.startswith("pilot_") and "reject" in line.split("{")[0])
        return {name: float(count) for name, count in counts if float(count) > 0}

    def rejection_lines(self) -> list[str]:
        """The same in istiod's words: which proxy, what, and why."""
        log = (self._folder / "istiod.log").read_text(errors="replace")
        return [line for line in log.splitlines() if "ACK ERROR" in line]

    def stop(self) -> None:
        for process in reversed(self._processes):
            process.kill()

    def _start(self, name: str, *command, environment: dict[str, str] | None = None) -> Process:
        process = Process(command, self._folder / f"{name}.log", env=os.environ | (environment or {}))
        self._processes.append(process)
        return process

    def _start_kubernetes(self) -> None:
        folder, binaries = self._folder, self._kit / "bin"
        key = folder / "service-accounts.key"
        subprocess.run(["openssl", "genrsa", "-out", key, "2048"], check=True, capture_output=True)
        (folder / "tokens.csv").write_text(f'{TOKEN},admin,admin,"system:masters"\n')
        self._write_kubeconfig()
        self._start("etcd", "etcd", "--data-dir", folder / "etcd")
        self._start(
            "kube-apiserver",
            binaries / "kube-apiserver",
            "--etcd-servers=http://127.0.0.1:2379",
            f"--secure-port={API_PORT}",
            f"--cert-dir={folder / 'certificates'}",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={key}",
            f"--service-account-signing-key-file={key}",
            f"--token-auth-file={folder / 'tokens.csv'}",
            "--authorization-mode=RBAC",
            f"--service-cluster-ip-range={SERVICES}",
            "--allow-privileged=true",
            *self._of_the_node(),
        )
        until(self._is_ready, START_SECONDS, "a ready API server")
        kubeconfig = f"--kubeconfig={self.kubeconfig}"
        self._start(
            "kube-controller-manager",
            binaries / "kube-controller-manager",
            kubeconfig,
            "--leader-elect=false",
            f"--service-account-private-key-file={key}",
            f"--root-ca-file={folder / 'certificates/apiserver.crt'}",
            f"--controllers={self._CONTROLLERS}",
            # What the autoscaler looks at comes every 10 s here.
            "--horizontal-pod-autoscaler-sync-period=5s",
        )
        self._start("kube-scheduler", binaries / "kube-scheduler", kubeconfig, "--leader-elect=false")
        account = "/api/v1/namespaces/default/serviceaccounts/default"
        until(lambda: self._found(account), START_SECONDS, "the default service account")

    def _of_the_node(self) -> list[str]:
        """It calls the kubelet, for logs and exec, and is called by its address."""
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

    def _start_istio(self) -> None:
        if not self._found(f"/api/v1/namespaces/{ISTIO_NAMESPACE}"):
            self.kubectl("create", "namespace", ISTIO_NAMESPACE)
        self.kubectl("apply", "--server-side", "-f", str(self._kit / "istio.yaml"))
        self._define(gateway_api.definitions())
        self._use_the_cni_plugin()
        self.start_istiod()
        self._trust_istiod()

    def start_istiod(self, **variables: str) -> None:
        """With variables of its own; in place of the one that runs."""
        if self._istiod is not None:
            self._istiod.kill()
        mesh = self._folder / "mesh.json"
        mesh.write_text(json.dumps(self._mesh_configuration()))
        own = dict.fromkeys(_NEEDS_ISTIOS_ENVOY, "false") | {
            "PILOT_DISABLE_MX_ALPN": "true",
            "POD_NAMESPACE": ISTIO_NAMESPACE,
            "POD_NAME": "istiod-0",
            "INJECTION_WEBHOOK_CONFIG_NAME": _WEBHOOKS[0][1],
            "VALIDATION_WEBHOOK_CONFIG_NAME": _WEBHOOKS[1][1],
        }
        command = [self._kit / "bin/pilot-discovery", "discovery", "--kubeconfig", self.kubeconfig, "--meshConfig", mesh]
        self._istiod = self._start("istiod", *command, "-n", ISTIO_NAMESPACE, environment=own | variables)
        until(lambda: answers(ISTIOD, "/ready"), START_SECONDS, "a ready istiod")

    def _use_the_cni_plugin(self) -> None:
        """In place of an init container that is root; and the proxy's image is the one that is made here."""
        values = json.loads(self.api.get(_INJECTOR)["data"]["values"])
        values.setdefault("pilot", {})["cni"] = {"enabled": True, "provider": "default"}
        values["global"]["tag"] = ISTIOS_TAG
        self.api.patch(_INJECTOR, {"data": {"values": json.dumps(values)}})

    def _define(self, definitions: list[dict]) -> None:
        path = self._folder / "definitions.json"
        path.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": definitions}))
        self.kubectl("apply", "--server-side", "--filename", str(path))

    def _mesh_configuration(self) -> dict:
        # The registry of these tests speaks plain HTTP.
        metadata = {"WASM_INSECURE_REGISTRIES": self._registry}
        defaults = {"discoveryAddress": f"{ISTIOD_NAME}:15012", "proxyMetadata": metadata}
        return {"defaultConfig": defaults, "extensionProviders": [EXTENSION]}

    def _trust_istiod(self) -> None:
        """istiod writes its CA into webhooks that name a Service; those of the kit name a URL, as nothing routes a Service here."""
        path = f"/api/v1/namespaces/{ISTIO_NAMESPACE}/configmaps/istio-ca-root-cert"
        root = until(lambda: self._found(path), START_SECONDS, "istiod's root certificate")
        bundle = base64.b64encode(root["data"]["root-cert.pem"].encode()).decode()
        for kind, name in _WEBHOOKS:
            webhook = f"/apis/admissionregistration.k8s.io/v1/{kind}/{name}"
            count = len(self.api.get(webhook)["webhooks"])
            change = [{"op": "add", "path": f"/webhooks/{i}/clientConfig/caBundle", "value": bundle} for i in range(count)]
            self.api.patch(webhook, change, JSON_PATCH)

    def _write_kubeconfig(self) -> None:
        cluster = {"server": f"https://127.0.0.1:{API_PORT}", "insecure-skip-tls-verify": True}
        configuration = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "test", "cluster": cluster}],
            "users": [{"name": "admin", "user": {"token": TOKEN}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "admin"}}],
            "current-context": "test",
        }
        self.kubeconfig.write_text(json.dumps(configuration))

    def _is_ready(self) -> bool:
        return self.kubectl("get", "--raw", "/readyz", check=False).returncode == 0

    def _found(self, path: str) -> dict | None:
        try:
            return self.api.get(path)
        except ApiError:
            return None


"""Gateway API in the cluster: its kinds, by the schemas that tests/manifests checks the manifests with."""

import json
import subprocess
from pathlib import Path

from harness.paths import ROOT

_SCHEMAS = ROOT / "tests/manifests/schemas/gateway-api.json"
_SCOPES = {"Gateway": "Namespaced", "GatewayClass": "Cluster", "HTTPRoute": "Namespaced"}
# The API server wants to know who approved of a group below k8s.io; istiod reads the version.
_ANNOTATIONS = {
    "api-approved.kubernetes.io": "https://github.com/kubernetes-sigs/gateway-api/pull/3328",
    "gateway.networking.k8s.io/bundle-version": "v1.6.0",
    "gateway.networking.k8s.io/channel": "standard",
}


def definitions() -> list[dict]:
    """The CustomResourceDefinitions."""
    found = []
    for name, schema in json.loads(_SCHEMAS.read_text()).items():
        group, version, kind = name.split("/")
        plural = kind.lower() + ("es" if kind.endswith("s") else "s")
        spec = {
            "group": group,
            "names": {"kind": kind, "listKind": f"{kind}List", "plural": plural, "singular": kind.lower()},
            "scope": _SCOPES[kind],
            "versions": [{"name": version, "served": True, "storage": True, "subresources": {"status": {}}, "schema": {"openAPIV3Schema": schema}}],
        }
        metadata = {"name": f"{plural}.{group}", "annotations": _ANNOTATIONS}
        found.append({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": metadata, "spec": spec})
    return found


def certificate_secret(folder: Path, name: str, namespace: str, host: str) -> dict:
    """A Secret of a certificate for this host, which signs itself."""
    folder.mkdir(parents=True, exist_ok=True)
    key, certificate = folder / f"{name}.key", folder / f"{name}.crt"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={host}", "-addext", f"subjectAltName=DNS:{host}"]
    subprocess.run([*command, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    data = {"tls.key": key.read_text(), "tls.crt": certificate.read_text()}
    return {"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls", "metadata": {"name": name, "namespace": namespace}, "stringData": data}

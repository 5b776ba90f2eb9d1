"""Certificates of any identity, signed by the mesh's own authority: a test chooses which client a caller is."""

import base64
import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path


from cluster.api import Api
from cluster.control_plane import ISTIO_NAMESPACE

TRUST_DOMAIN = "cluster.local"


@dataclass(frozen=True)
class Identity:
    """A service account, as SPIFFE names it."""

    namespace: str
    account: str

    @property
    def uri(self) -> str:
        return f"spiffe://{TRUST_DOMAIN}/ns/{self.namespace}/sa/{self.account}"


class Authority:
    """The authority that istiod signs with; or, without `api`, one that no proxy in the mesh trusts."""

    def __init__(self, folder: Path, api: Api | None) -> None:
        folder.mkdir()
        self._folder = folder
        if api is None:
            subject = ["-subj", "/O=another mesh"]
            self._openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.crt", *subject)
            return
        secret = api.get(f"/api/v1/namespaces/{ISTIO_NAMESPACE}/secrets/istio-ca-secret")["data"]
        (folder / "ca.crt").write_bytes(base64.b64decode(secret["ca-cert.pem"]))
        (folder / "ca.key").write_bytes(base64.b64decode(secret["ca-key.pem"]))

    def context(self, identity: Identity | None, trusted: "Authority | None" = None) -> ssl.SSLContext:
        """For a caller with this identity, or with no certificate, who believes what `trusted` (by default: this authority) signed."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        # A workload's certificate names an identity and no host.
        context.check_hostname = False
        context.load_verify_locations((trusted or self)._folder / "ca.crt")
        if identity is not None:
            name = f"{identity.namespace}.{identity.account}"
            self._sign(identity, name)
            context.load_cert_chain(self._folder / f"{name}.crt", self._folder / f"{name}.key")
        return context

    def _sign(self, identity: Identity, name: str) -> None:
        self._openssl(
            *("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-CA", "ca.crt", "-CAkey", "ca.key"),
            *("-keyout", f"{name}.key", "-out", f"{name}.crt", "-subj", "/O=test"),
            *("-addext", f"subjectAltName=critical,URI:{identity.uri}", "-addext", "basicConstraints=critical,CA:FALSE"),
        )

    def _openssl(self, *arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=self._folder, check=True, capture_output=True)

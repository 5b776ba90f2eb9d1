"""A small OpenID provider, and the real oauth2-proxy behind which a purge host stands: what `ext-authz` of the mesh is."""

import base64
import json
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from harness.client import answers
from harness.processes import Process

from cluster.network import NODE_ADDRESS
from cluster.waiting import until

NAME = NAMESPACE = "oauth2-proxy"
PORT = 4180
_PROVIDER_PORT = 9080
ISSUER = f"http://{NODE_ADDRESS}:{_PROVIDER_PORT}"
AUDIENCE = "purge"
# What meshConfig says of it: kustomize/README.md.
EXTENSION = {
    "name": "ext-authz",
    "envoyExtAuthzHttp": {
        "service": f"{NAME}.{NAMESPACE}.svc.cluster.local",
        "port": PORT,
        "includeRequestHeadersInCheck": ["authorization", "cookie"],
    },
}
_MINUTES = 10 * 60
START_SECONDS = 60


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Provider:
    """Its keys, and tokens that it would give."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self._key = folder / "provider.key"
        subprocess.run(["openssl", "genrsa", "-out", self._key, "2048"], check=True, capture_output=True)
        shown = subprocess.run(["openssl", "rsa", "-in", self._key, "-noout", "-modulus"], check=True, capture_output=True, text=True).stdout
        modulus = bytes.fromhex(shown.strip().partition("=")[2])
        self.keys = {"keys": [{"kty": "RSA", "alg": "RS256", "use": "sig", "kid": "1", "n": _base64(modulus), "e": "AQAB"}]}

    def token(self, audience: str = AUDIENCE, lives: int = _MINUTES) -> str:
        """Of an operator, for this audience; a negative time is over."""
        now = int(time.time())
        claims = {"iss": ISSUER, "aud": audience, "sub": "operator", "email": "operator@example.com", "email_verified": True, "iat": now, "exp": now + lives}
        parts = ({"alg": "RS256", "typ": "JWT", "kid": "1"}, claims)
        signed = ".".join(_base64(json.dumps(part).encode()) for part in parts)
        done = subprocess.run(["openssl", "dgst", "-sha256", "-sign", self._key], input=signed.encode(), check=True, capture_output=True)
        return f"{signed}.{_base64(done.stdout)}"

    def pages(self) -> dict[str, dict]:
        ends = {"authorization_endpoint": f"{ISSUER}/authorize", "token_endpoint": f"{ISSUER}/token", "jwks_uri": f"{ISSUER}/keys"}
        about = {"issuer": ISSUER, "id_token_signing_alg_values_supported": ["RS256"], "response_types_supported": ["code"], "subject_types_supported": ["public"]}
        return {"/.well-known/openid-configuration": about | ends, "/keys": self.keys}


class Authorization:
    """Both, running; and `objects` by which the mesh finds the proxy."""

    def __init__(self, kit: Path, folder: Path) -> None:
        self.provider = Provider(folder)
        self._server = _serve(self.provider.pages())
        flags = {
            **{"provider": "oidc", "oidc-issuer-url": ISSUER, "client-id": AUDIENCE, "client-secret": "of-the-test", "cookie-secret": "0" * 32},
            **{"email-domain": "*", "http-address": f"{NODE_ADDRESS}:{PORT}", "upstream": "static://200", "redirect-url": f"{ISSUER}/callback"},
            **{"reverse-proxy": "true", "skip-jwt-bearer-tokens": "true", "cookie-secure": "false"},
        }
        command = [kit / "bin/oauth2-proxy", *(f"--{name}={value}" for name, value in flags.items())]
        self._proxy = Process(command, folder / "oauth2-proxy.log")
        until(lambda: answers(f"http://{NODE_ADDRESS}:{PORT}", "/ping"), START_SECONDS, "oauth2-proxy")

    def stop(self) -> None:
        self._proxy.kill()
        self._server.shutdown()

    @staticmethod
    def objects() -> list[dict]:
        """A Service of what runs beside the cluster."""
        metadata = {"name": NAME, "namespace": NAMESPACE}
        service = {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"ports": [{"name": "http", "port": PORT}]}}
        slice_ = {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": metadata | {"labels": {"kubernetes.io/service-name": NAME}}}
        ends = {"addressType": "IPv4", "ports": [{"name": "http", "port": PORT}], "endpoints": [{"addresses": [NODE_ADDRESS]}]}
        return [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}, service, slice_ | ends]


def _serve(pages: dict[str, dict]) -> ThreadingHTTPServer:
    class Pages(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            page = pages.get(self.path)
            self.send_response(200 if page else 404)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(page or {}).encode())

        def log_message(self, *_) -> None:
            pass

    server = ThreadingHTTPServer((NODE_ADDRESS, _PROVIDER_PORT), Pages)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server

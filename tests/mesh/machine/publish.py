"""Pushes the images to the registry from which the node pulls them, as any client of the distribution API does."""

import hashlib
import http.client
import json
import tarfile
import tempfile
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from machine.images import Image

_MANIFEST, _CONFIG = "application/vnd.oci.image.manifest.v1+json", "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar"
_SECONDS = 300
_BLOCK = 1 << 20


def publish(made: list[Image], host: str, port: int) -> None:
    """All of them; a layer that several have is sent once."""
    repositories = _Repositories(host, port)
    for image in made:
        repositories.push(image)


class _Repositories:
    """Those of one registry."""

    def __init__(self, host: str, port: int) -> None:
        self._connection = http.client.HTTPConnection(host, port, timeout=_SECONDS, blocksize=_BLOCK)
        # (descriptor, the repository that has it)
        self._layers: dict[Path, tuple[dict, str]] = {}

    def push(self, image: Image) -> None:
        path, _, tag = image.name.partition("/")[2].rpartition(":")
        layers = [self._layer(path, root) for root in image.layers]
        rootfs = {"type": "layers", "diff_ids": [each["digest"] for each in layers]}
        config = json.dumps({"architecture": "amd64", "os": "linux", "config": image.config(), "rootfs": rootfs}).encode()
        described = {"mediaType": _CONFIG, "digest": _digest(config), "size": len(config)}
        self._send(path, config, described["digest"])
        manifest = {"schemaVersion": 2, "mediaType": _MANIFEST, "config": described, "layers": layers}
        self._ask("PUT", f"/v2/{path}/manifests/{tag}", json.dumps(manifest).encode(), {"Content-Type": _MANIFEST})

    def _layer(self, path: str, root: Path) -> dict:
        if root in self._layers:
            descriptor, other = self._layers[root]
            self._ask("POST", f"/v2/{path}/blobs/uploads/?mount={descriptor['digest']}&from={other}")
            return descriptor
        with tempfile.TemporaryFile(dir=root.parent) as file:
            with tarfile.open(fileobj=file, mode="w") as tar:
                for each in sorted(root.iterdir()):
                    tar.add(each, arcname=each.name)
            file.seek(0)
            digest = f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
            descriptor = {"mediaType": _LAYER, "digest": digest, "size": file.tell()}
            file.seek(0)
            self._send(path, file, digest, descriptor["size"])
        self._layers[root] = descriptor, path
        return descriptor

    def _send(self, path: str, content: bytes | IO[bytes], digest: str, size: int | None = None) -> None:
        place = urlsplit(self._ask("POST", f"/v2/{path}/blobs/uploads/"))
        length = {} if size is None else {"Content-Length": str(size)}
        self._ask("PUT", f"{place.path}?{place.query}&digest={digest}", content, length | {"Content-Type": "application/octet-stream"})

    def _ask(self, method: str, path: str, body: bytes | IO[bytes] | None = None, headers: dict[str, str] | None = None) -> str:
        """Where it leads to; AssertionError with the registry's words when it refuses."""
        self._connection.request(method, path, body, headers or {})
        answer = self._connection.getresponse()
        said = answer.read()
        assert answer.status in (201, 202), f"{method} {path}: {answer.status} {said!r}"
        return answer.headers.get("Location", "")


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"

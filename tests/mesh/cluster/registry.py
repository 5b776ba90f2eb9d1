"""A real OCI registry for the filter's module: Debian's docker-registry, over plain HTTP."""

import json
import re
import shutil
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

from harness.processes import Process
from harness.waiting import eventually

PORT = 5000
NAME = f"registry.test:{PORT}"


class Registry:
    """Empty at first."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self._folder = folder
        configuration = {
            "version": 0.1,
            "storage": {"filesystem": {"rootdirectory": str(folder / "blobs")}},
            "http": {"addr": f":{PORT}"},
        }
        # JSON is YAML.
        path = folder / "config.yml"
        path.write_text(json.dumps(configuration))
        self._process = Process([shutil.which("docker-registry"), "serve", path], folder / "registry.log")
        eventually(self._answers, 30, "the registry")

    def push_filter(self, module: Path, tag: str) -> None:
        """Publishes the module as the image that kustomize/ names."""
        context = self._folder / f"filter-{tag}"
        context.mkdir()
        shutil.copy(module, context / "plugin.wasm")
        (context / "Containerfile").write_text("FROM scratch\nCOPY plugin.wasm /plugin.wasm\n")
        image = f"{NAME}/body-hash-filter:{tag}"
        self._buildah("bud", "--isolation", "chroot", "--format", "docker", "--tag", image, str(context))
        self._buildah("push", "--tls-verify=false", image)

    def pullers(self, repository: str, tag: str) -> set[str]:
        """The addresses of all who took this image's manifest."""
        line = re.compile(rf'^([0-9.]+) - - .*"GET /v2/{repository}/manifests/{re.escape(tag)} HTTP/1.1" 200 ', re.MULTILINE)
        return set(line.findall(self._process.log_text()))

    def _buildah(self, command: str, *arguments: str) -> None:
        where = ["--root", str(self._folder / "images"), "--runroot", str(self._folder / "run"), "--storage-driver", "vfs"]
        done = subprocess.run(["buildah", *where, command, *arguments], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

    def stop(self) -> None:
        self._process.kill()

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{PORT}/v2/", timeout=2) as answer:
                return answer.status == 200
        except (urllib.error.URLError, OSError):
            return False

"""A real OCI registry for all images and the filter's module: Debian's docker-registry, over plain HTTP."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

from harness.client import answers
from harness.paths import ROOT
from harness.processes import Process

from cluster.waiting import until
from machine.images import parts_of_scripts_images, pin

PORT = 5000
NAME = f"registry.test:{PORT}"
FILTER = "body-hash-filter"
_PINS = ROOT / "kustomize/overlays/pinned/kustomization.yaml"


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
        self._buildah = _buildah_settings(folder / "buildah")
        self._process = Process([shutil.which("docker-registry"), "serve", path], folder / "registry.log")
        until(lambda: answers(f"http://127.0.0.1:{PORT}", "/v2/"), 30, "the registry")

    def publish_filter(self, tag: str, **variables: str) -> str:
        """Builds the filter's image, pushes it and pins it in kustomize/: all by scripts/images.sh. Returns its digest."""
        command = [ROOT / "scripts/images.sh", *parts_of_scripts_images(_PINS)]
        said = run(command, self._buildah | {"REGISTRY": NAME, "TAG": tag, "TOOL": "buildah"} | variables)
        pin(_PINS)
        return said.splitlines()[-1].partition("@")[2]

    def push_filter(self, module: Path, tag: str) -> None:
        """Pushes an image with this module."""
        context = self._folder / f"filter-{tag}"
        context.mkdir()
        shutil.copy(module, context / "plugin.wasm")
        image = f"{NAME}/{FILTER}:{tag}"
        containerfile = ROOT / "filter/Containerfile"
        run(["buildah", "build", "--format", "docker", "--file", containerfile, "--tag", image, context], self._buildah)
        run(["buildah", "push", image], self._buildah)

    def pullers(self, reference: str) -> set[str]:
        """The addresses of all who took this image's manifest, by its tag or digest."""
        line = re.compile(rf'^([0-9.]+) - - .*"GET /v2/{FILTER}/manifests/{re.escape(reference)} HTTP/1.1" 200 ', re.MULTILINE)
        return set(line.findall(self._process.log_text()))

    def stop(self) -> None:
        self._process.kill()


def _buildah_settings(folder: Path) -> dict[str, str]:
    """Nothing outside of `folder`, and plain HTTP for this registry: what a user's configuration files would say."""
    folder.mkdir()
    storage = {"driver": "vfs", "graphroot": str(folder / "images"), "runroot": str(folder / "run")}
    (folder / "storage.conf").write_text("[storage]\n" + "".join(f'{key} = "{value}"\n' for key, value in storage.items()))
    (folder / "registries.conf").write_text(f'[[registry]]\nlocation = "{NAME}"\ninsecure = true\n')
    files = {"CONTAINERS_STORAGE_CONF": "storage.conf", "CONTAINERS_REGISTRIES_CONF": "registries.conf"}
    return {"BUILDAH_ISOLATION": "chroot"} | {variable: str(folder / file) for variable, file in files.items()}


def run(command: list, variables: dict[str, str]) -> str:
    """Its standard output; AssertionError with all that it said when it fails."""
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | variables)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout

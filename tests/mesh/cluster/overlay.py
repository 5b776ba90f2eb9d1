"""The manifests as a user has them: kustomize/ with his choices in it, applied by kubectl.

A copy lies over the repository's own, in this mount namespace alone; so scripts/images.sh may pin what it pushes where it always does.
"""

import shutil
import subprocess
from collections import defaultdict
from pathlib import Path

import yaml
from harness.paths import ROOT

WAVE = "argocd.argoproj.io/sync-wave"
MANIFESTS = ROOT / "kustomize"
_LAST = "- ../../components/images\n"


class Overlay:
    """A copy that may be edited: `path` is what `kubectl apply -k` gets."""

    def __init__(self, folder: Path, layer: Path) -> None:
        self.path = str(layer)
        shutil.copytree(MANIFESTS, folder)
        subprocess.run(["mount", "--bind", folder, MANIFESTS], check=True)
        self._used = _LAST

    def use(self, components: tuple[str, ...]) -> None:
        """Puts these before the last component of dev, in place of those of the last call."""
        lines = "".join(f"- ../../components/{each}\n" for each in components) + _LAST
        self.replace("overlays/dev/kustomization.yaml", self._used, lines)
        self._used = lines

    def replace(self, file: str, old: str, new: str) -> None:
        """Changes one place of one file below kustomize/; AssertionError if it is not exactly one."""
        path = MANIFESTS / file
        content = path.read_text()
        assert content.count(old) == 1, f"{file} has {old!r} {content.count(old)} times"
        path.write_text(content.replace(old, new))

    def append(self, file: str, text: str) -> None:
        """Adds to the end of one file below kustomize/."""
        with open(MANIFESTS / file, "a") as content:
            content.write(text)

    def objects(self) -> list[dict]:
        """All that `kubectl apply -k` would create, in its order."""
        return _rendered(self.path)

    def shipped(self) -> list[dict]:
        """The same without what the tests' own layer says."""
        return _rendered(str(MANIFESTS / "overlays/pinned"))

    def waves(self) -> list[tuple[int, list[dict]]]:
        """The objects by sync wave, as Argo CD would apply them."""
        waves = defaultdict(list)
        for each in self.objects():
            waves[int(each["metadata"].get("annotations", {}).get(WAVE, 0))].append(each)
        return sorted(waves.items())


def _rendered(path: str) -> list[dict]:
    built = subprocess.run(["kubectl", "kustomize", path], capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    return list(yaml.safe_load_all(built.stdout))

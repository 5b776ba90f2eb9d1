"""Renders the manifests as `kubectl` does: as they are, and with other components in the dev overlay."""

import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

from harness.paths import ROOT, TOOLS

from .objects import Manifests

KUSTOMIZE = ROOT / "kustomize"
_OWN_KUSTOMIZE = TOOLS / "bin/kustomize"
_TIMEOUT_SECONDS = 120
# Seven times as fast where PyYAML was built with libyaml.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class DoesNotRender(Exception):
    """What kustomize said."""


def _command() -> list[str]:
    """kubectl's kustomize; where there is no kubectl, the one that scripts/setup.sh installs."""
    return ["kubectl", "kustomize"] if shutil.which("kubectl") else [str(_OWN_KUSTOMIZE), "build"]


def build(folder: Path) -> Manifests:
    done = subprocess.run([*_command(), folder], capture_output=True, text=True, timeout=_TIMEOUT_SECONDS)
    if done.returncode:
        raise DoesNotRender(done.stderr)
    return Manifests([each for each in yaml.load_all(done.stdout, _LOADER) if each])


@dataclass(frozen=True)
class Variant:
    """An overlay with some of its components exchanged, as README.md tells its readers to do."""

    name: str
    add: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()
    s3_server: str = "minio"
    overlay: str = "dev"

    def components(self) -> set[str]:
        """Every component that it renders, by name."""
        overlay = yaml.safe_load((KUSTOMIZE / f"overlays/{self.overlay}/kustomization.yaml").read_text())
        listed = {Path(each).name for each in overlay["resources"] + overlay["components"]}
        named = listed - set(self.remove) | set(self.add)
        brings = {"minio": {"bucket", "object-store", self.s3_server}, "eks-pod-identity": {"s3"}}
        return (named - {"minio"}).union(*(brings[each] for each in named & brings.keys())) & set(COMPONENTS)


COMPONENTS = sorted(path.parent.name for path in KUSTOMIZE.glob("components/*/kustomization.yaml"))
# Those that change what others bring; the rest are listed as resources.
CHANGING = [each for each in COMPONENTS if "kind: Component" in (KUSTOMIZE / f"components/{each}/kustomization.yaml").read_text()]
# What kustomize refuses without these before it.
BEHIND = dict.fromkeys(("ambient", "body-hash-file", "body-hash-native", "body-hash-single", "traffic-extension"), ("body-hash",))
BEHIND |= dict.fromkeys(("body-hash-native-file", "body-hash-native-init"), ("body-hash", "body-hash-native"))
BEHIND |= {"purge-oauth2-gateway-api": ("gateway-api",), "s3-china": ("s3",)}
# All that go together, but for what test_together.py has: in this order behind dev's own, and behind production's.
_EVERYWHERE = ("upstreams", "external-secrets", "private-endpoints", "varnish-exporter", "in-mesh-clients", "traffic-extension")
_MORE = ("restricted", "tracing", "monitoring", *_EVERYWHERE, "purge-oauth2")
_LAST = ("pull-secret", "openshift")
_BUCKET = ("eks-pod-identity", "s3-china")
_NATIVE = ("body-hash-native", "body-hash-native-init")
# Each component of the table, and all that go together.
VARIANTS = [
    Variant("dev"),
    Variant("seaweedfs", s3_server="seaweedfs"),
    Variant("s3", add=("s3",), remove=("minio",)),
    Variant("eks-pod-identity", add=("eks-pod-identity", "private-endpoints"), remove=("minio",)),
    Variant("body-hash-file", add=("traffic-extension", "body-hash-file"), remove=("body-hash-ingress",)),
    Variant("body-hash-single", add=("traffic-extension", "body-hash-single")),
    Variant("body-hash-native", add=("body-hash-native",)),
    Variant("body-hash-native-file", add=("traffic-extension", "body-hash-native", "body-hash-native-file")),
    Variant("body-hash-native-init", add=("body-hash-native", "body-hash-native-init")),
    Variant("purge-oauth2", add=("purge-oauth2",)),
    Variant("in-mesh-clients", add=("in-mesh-clients",)),
    Variant("restricted", add=("restricted",)),
    Variant("monitoring", add=("monitoring", "varnish-exporter")),
    Variant("tracing", add=("tracing",)),
    Variant("pull-secret", add=("in-mesh-clients", "traffic-extension", "pull-secret")),
    Variant("openshift", add=("openshift",)),
    Variant("upstreams", add=("upstreams",)),
    Variant("external-secrets", add=("external-secrets",)),
    Variant("traffic-extension", add=("in-mesh-clients", "traffic-extension")),
    Variant("on a bucket", add=("purge-oauth2", "in-mesh-clients", "restricted", "monitoring", "s3"), remove=("minio",)),
    Variant("all in one", add=("body-hash-single", "purge-oauth2", "in-mesh-clients", "restricted", "monitoring"), s3_server="seaweedfs"),
    Variant("everything", add=(*_MORE, *_NATIVE, *_LAST), s3_server="seaweedfs"),
    Variant("everything, native from a file", add=(*_MORE, *_BUCKET, "body-hash-native", "body-hash-native-file", *_LAST), remove=("minio",)),
    Variant("everything, from a file", add=(*_MORE, *_BUCKET, "body-hash-file", *_LAST), remove=("minio",)),
    Variant("everything, one filter", add=(*_MORE, *_BUCKET, "body-hash-single", "openshift"), remove=("minio",)),
    Variant("production", overlay="production"),
    Variant("production, more", add=("s3-china", *_EVERYWHERE, *_LAST), overlay="production"),
    Variant("production, native", add=(*_BUCKET, *_EVERYWHERE, *_NATIVE, *_LAST), remove=("s3",), overlay="production"),
]
# Without sidecars, of which test_ambient.py asks other questions.
_IN_AMBIENT = ("upstreams", "external-secrets", "private-endpoints", "varnish-exporter", "pull-secret", "openshift", "ambient")
AMBIENT = [
    Variant("dev", add=("restricted", "tracing", "monitoring", "purge-oauth2", *_IN_AMBIENT)),
    Variant("production", add=_IN_AMBIENT, overlay="production"),
]


def copy(folder: Path) -> Path:
    """A copy of the whole tree, with something in place of the module that is not in the repository."""
    tree = folder / "kustomize"
    shutil.copytree(KUSTOMIZE, tree, ignore=shutil.ignore_patterns("plugin.wasm", "*.so", "vtc", "pinned"))
    (tree / "components/body-hash-file/plugin.wasm").write_bytes(b"\0asm\xff")
    (tree / "components/body-hash-native-file/libbody_hash_filter.so").write_bytes(b"\x7fELF\xff")
    return tree


def dev(variant: Variant, folder: Path) -> Manifests:
    overlay = copy(folder) / "overlays" / variant.overlay
    file = overlay / "kustomization.yaml"
    content = yaml.safe_load(file.read_text())
    kept = [each for each in content["components"] if Path(each).name not in variant.remove]
    content["components"] = kept + [f"../../components/{each}" for each in variant.add]
    file.write_text(yaml.safe_dump(content))
    if variant.s3_server != "minio":
        storage = overlay / "minio/kustomization.yaml"
        storage.write_text(storage.read_text().replace("/components/minio\n", f"/components/{variant.s3_server}\n"))
    return build(overlay)


def base_with(component: str, folder: Path) -> Manifests:
    overlay = copy(folder) / "overlays/alone"
    overlay.mkdir()
    listed = [*BEHIND.get(component, ()), component]
    content = {"resources": ["../../base"], "components": [f"../../components/{each}" for each in listed]}
    (overlay / "kustomization.yaml").write_text(yaml.safe_dump(content))
    return build(overlay)


@cache
def base() -> Manifests:
    return build(KUSTOMIZE / "base")

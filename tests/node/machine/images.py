"""The images of the tests: what this machine has of each program, in one layer, made without a build tool and without the network.

They differ from the published ones in their base: files of this machine's Debian, of which those without a shell get the C library only.
"""

import hashlib
import io
import json
import shutil
import subprocess
import tarfile
from dataclasses import dataclass, field
from pathlib import Path

from cluster.programs import ISTIOS_ENVOY
from harness.paths import ENVOY_VERSION, ROOT, TOOLS, envoy_binary
from harness.programs import BROADCASTER, GATEWAY

# Varnish compiles its VCL.
_VARNISH_PACKAGES = (
    *("dash", "coreutils", "sed", "grep", "mawk", "curl", "varnish", "libvarnishapi3", "gcc", "gcc-12", "cpp-12"),
    *("binutils", "binutils-x86-64-linux-gnu", "libgcc-12-dev", "libc6-dev", "linux-libc-dev"),
)
_UNUSED = ("/usr/share/doc", "/usr/share/man", "/usr/share/locale", "/usr/share/info", "/usr/lib/gcc/x86_64-linux-gnu/12/lto")
_PAUSE = "#include <unistd.h>\n#include <signal.h>\nint main(){signal(SIGTERM,_exit);for(;;)pause();}\n"
_MANIFEST, _CONFIG = "application/vnd.oci.image.manifest.v1+json", "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar"


@dataclass(frozen=True)
class Image:
    """One name, what it starts, its user, and the folder that is its root."""

    name: str
    root: Path
    entrypoint: tuple[str, ...]
    user: str = "65532:65532"
    environment: tuple[str, ...] = field(default=("PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",))

    def config(self) -> dict:
        return {"Entrypoint": list(self.entrypoint), "User": self.user, "Env": list(self.environment)}


def images(kit: Path, istio: str, folder: Path) -> list[Image]:
    """All that the manifests name, under the names that they have there."""
    system, gateway, minio, native, pause = (folder / each for each in ("system", "gateway", "minio", "native", "pause"))
    _install_packages(system, _VARNISH_PACKAGES)
    for program in (GATEWAY, BROADCASTER):
        _install(gateway, program, f"/usr/local/bin/{program.name}")
    _install(minio, kit / "bin/minio", "/usr/bin/minio")
    _install(system, TOOLS / "bin/prometheus-varnish-exporter", "/usr/bin/prometheus-varnish-exporter")
    _install(native, Path("/bin/cp"), "/usr/bin/cp")
    # As it is shipped: one that this machine's linker made wants a libgcc_s, which a proxy's image may not have.
    subprocess.run([ROOT / "scripts/images.sh", "native-file"], check=True, capture_output=True)
    shutil.copy(ROOT / "kustomize/components/body-hash-native-file/libbody_hash_filter.so", native)
    pause.mkdir(parents=True)
    subprocess.run(["gcc", "-static", "-O1", "-x", "c", "-", "-o", pause / "pause"], input=_PAUSE, text=True, check=True)
    made = [
        Image("registry.k8s.io/pause:3.10", pause, ("/pause",)),
        Image("docker.io/library/embedding-gateway:0.1.0", gateway, ("/usr/local/bin/embedding-gateway",)),
        Image("docker.io/library/varnish:9.0.4-5", system, ("varnishd", "-F")),
        Image("docker.io/library/varnish-exporter:0.1.0", system, ("prometheus-varnish-exporter",)),
        Image("docker.io/library/body-hash-filter-native:0.1.0", native, ("cp",)),
        Image("quay.io/curl/curl:8.22.0", system, ("curl",)),
        Image("localhost/minio:1", minio, ("/usr/bin/minio",)),
    ]
    for name, envoy in ((f"docker.io/istio/proxyv2:{istio}", ISTIOS_ENVOY), ("docker.io/istio/proxyv2-next:1", ENVOY_VERSION)):
        made.append(Image(name, _proxy(kit, envoy, folder / f"proxy-{envoy}"), ("/usr/local/bin/pilot-agent",), "1337:1337"))
    return made


def _proxy(kit: Path, envoy: str, root: Path) -> Path:
    _install(root, kit / "bin/pilot-agent", "/usr/local/bin/pilot-agent")
    _install(root, envoy_binary(envoy), "/usr/local/bin/envoy")
    bootstrap = root / "var/lib/istio/envoy/envoy_bootstrap_tmpl.json"
    bootstrap.parent.mkdir(parents=True)
    shutil.copy(kit / "envoy_bootstrap.json", bootstrap)
    return root


def _install(root: Path, program: Path, target: str) -> None:
    """The program, the libraries that it is linked with, and what every image has."""
    place = root / target.lstrip("/")
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(program.resolve(), place)
    _libraries(root, [place])
    for link in ("bin", "sbin", "lib", "lib64"):
        (root / "usr" / link).mkdir(parents=True, exist_ok=True)
        if not (root / link).is_symlink():
            (root / link).symlink_to(f"usr/{link}")
    (root / "tmp").mkdir(exist_ok=True)
    (root / "tmp").chmod(0o1777)
    (root / "etc").mkdir(exist_ok=True)
    (root / "etc/passwd").write_text("root:x:0:0::/:/bin/sh\nistio-proxy:x:1337:1337::/:/bin/sh\nuser:x:65532:65532::/:/bin/sh\n")
    (root / "etc/group").write_text("root:x:0:\nistio-proxy:x:1337:\nuser:x:65532:\n")
    (root / "etc/nsswitch.conf").write_text("hosts: files dns\n")


def _install_packages(root: Path, packages: tuple[str, ...]) -> None:
    listed = subprocess.run(["dpkg-query", "-L", *packages], check=True, capture_output=True, text=True).stdout.split("\n")
    programs = []
    for file in (Path(each) for each in listed if each.startswith("/")):
        # Below usr/ everything, for the links of _install to lead to.
        relative = str(file) if str(file).startswith("/usr/") or str(file).startswith("/etc/") else f"/usr{file}"
        place = root / relative.lstrip("/")
        if file.is_dir() or not file.exists() or str(file).startswith(_UNUSED) or place.exists() or place.is_symlink():
            continue
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(file, place, follow_symlinks=False)
        if not place.is_symlink() and place.read_bytes()[:4] == b"\x7fELF":
            programs.append(place)
    _libraries(root, programs)
    _install(root, Path("/bin/dash"), "/usr/bin/sh")


def _libraries(root: Path, programs: list[Path]) -> None:
    for line in subprocess.run(["ldd", *programs], capture_output=True, text=True).stdout.splitlines():
        found = next((word for word in line.split() if word.startswith("/") and not word.endswith(":")), None)
        if found is None or found.startswith(str(root)):
            continue
        place = root / (found.lstrip("/") if found.startswith("/usr/") else f"usr{found}")
        if not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(Path(found).resolve(), place)


def archive(made: list[Image], path: Path) -> Path:
    """All images as one OCI archive; those of one root share their layer."""
    layers: dict[Path, tuple[str, int, Path]] = {}
    with tarfile.open(path, "w") as tar:
        _add(tar, "oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
        entries = []
        for image in made:
            if image.root not in layers:
                layers[image.root] = _write_layer(image.root, path)
                digest, _, file = layers[image.root]
                tar.add(file, arcname=f"blobs/sha256/{digest}")
                file.unlink()
            entries.append(_describe(tar, image, *layers[image.root][:2]))
        _add(tar, "index.json", json.dumps({"schemaVersion": 2, "manifests": entries}).encode())
    return path


def _describe(tar: tarfile.TarFile, image: Image, layer: str, size: int) -> dict:
    config = {"architecture": "amd64", "os": "linux", "config": image.config(), "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer}"]}}
    manifest = {
        "schemaVersion": 2,
        "mediaType": _MANIFEST,
        "config": {"mediaType": _CONFIG, **_blob(tar, config)},
        "layers": [{"mediaType": _LAYER, "digest": f"sha256:{layer}", "size": size}],
    }
    names = {"io.containerd.image.name": image.name, "org.opencontainers.image.ref.name": image.name}
    return {"mediaType": _MANIFEST, **_blob(tar, manifest), "annotations": names}


def _write_layer(root: Path, beside: Path) -> tuple[str, int, Path]:
    file = beside.with_suffix(f".{root.name}")
    with tarfile.open(file, "w") as tar:
        for each in sorted(root.iterdir()):
            tar.add(each, arcname=each.name)
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest(), file.stat().st_size, file


def _blob(tar: tarfile.TarFile, content: dict) -> dict:
    data = json.dumps(content).encode()
    digest = hashlib.sha256(data).hexdigest()
    _add(tar, f"blobs/sha256/{digest}", data)
    return {"digest": f"sha256:{digest}", "size": len(data)}


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))

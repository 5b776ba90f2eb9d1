"""The images of the tests: what this machine has of each program, made without a build tool and without the network.

They differ from the published ones in their base: files of this machine's Debian, of which those without a shell get the C library only.
"""

import os
import re
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from harness.paths import ENVOY_VERSION, TOOLS, envoy_binary, native_module
from harness.programs import BROADCASTER, GATEWAY, STANDIN

# Varnish compiles its VCL. Patterns, for this machine's compiler has a version in its name.
_VARNISH_PACKAGES = (
    *("dash", "coreutils", "sed", "grep", "mawk", "curl", "varnish", "libvarnishapi*", "gcc", "gcc-[0-9]*", "cpp-[0-9]*"),
    *("binutils", "binutils-*", "libgcc-[0-9]*-dev", "libc6-dev", "linux-libc-dev"),
)
_UNUSED = ("/usr/share/doc", "/usr/share/man", "/usr/share/locale", "/usr/share/info", "/usr/lib/gcc/x86_64-linux-gnu/12/lto")
# What scripts/images.sh would pin, and is made here in its place.
_OURS = ("embedding-gateway", "varnish-exporter", "body-hash-filter-native")
_OURS_TAG = "0.1.0"
_PAUSE = "#include <unistd.h>\n#include <signal.h>\nint main(){signal(SIGTERM,_exit);for(;;)pause();}\n"
# Of the Istio in the kit, 1.31.
ISTIOS_ENVOY = "1.39.3"
# The tag of the proxy's image, which the injector is told.
ISTIOS_TAG = "1"
# What the cluster's DNS server is pulled as.
DNS = "docker.io/library/dnsmasq:1"


@dataclass(frozen=True)
class Image:
    """One name, what it starts, its user, and the folders that are its layers."""

    name: str
    layers: tuple[Path, ...]
    entrypoint: tuple[str, ...]
    user: str = "65532:65532"
    environment: tuple[str, ...] = field(default=("PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",))

    def config(self) -> dict:
        return {"Entrypoint": list(self.entrypoint), "User": self.user, "Env": list(self.environment)}


def images(kit: Path, folder: Path) -> list[Image]:
    """All that the manifests name, under the names that they have there."""
    system, gateway, minio, native, pause, standin, dns = (
        folder / each for each in ("system", "gateway", "minio", "native", "pause", "standin", "dns")
    )
    _install_packages(system, _VARNISH_PACKAGES)
    for program in (GATEWAY, BROADCASTER):
        _install(gateway, program, f"/usr/local/bin/{program.name}")
    _install(minio, kit / "bin/minio", "/usr/bin/minio")
    _install(standin, STANDIN, "/usr/local/bin/openai-standin")
    _install(dns, Path("/usr/sbin/dnsmasq"), "/usr/sbin/dnsmasq")
    _install(system, TOOLS / "bin/prometheus-varnish-exporter", "/usr/bin/prometheus-varnish-exporter")
    _install(native, Path("/bin/cp"), "/usr/bin/cp")
    shutil.copy(native_module(), native / "libbody_hash_filter.so")
    pause.mkdir(parents=True)
    subprocess.run(["gcc", "-static", "-O1", "-x", "c", "-", "-o", pause / "pause"], input=_PAUSE, text=True, check=True)
    made = [
        Image("registry.k8s.io/pause:3.10", (pause,), ("/pause",)),
        Image(_ours("embedding-gateway"), (gateway,), ("/usr/local/bin/embedding-gateway",)),
        Image("docker.io/library/varnish:9.0.4-5", (system,), ("varnishd", "-F")),
        Image(_ours("varnish-exporter"), (system,), ("prometheus-varnish-exporter",)),
        Image(_ours("body-hash-filter-native"), (native,), ("cp",)),
        Image("quay.io/curl/curl:8.22.0", (system,), ("curl",)),
        Image("docker.io/library/openai-standin:1", (standin,), ("/usr/local/bin/openai-standin",)),
        Image(DNS, (dns,), ("dnsmasq",), "0:0"),
        Image("docker.io/library/minio:1", (minio,), ("/usr/bin/minio",)),
    ]
    return made + _proxies(kit, folder)


def _ours(name: str) -> str:
    return f"docker.io/library/{name}:{_OURS_TAG}"


def parts_of_scripts_images(pins: Path) -> list[str]:
    """What it builds for these tests; the filter last. The backend once, for another digest would roll it."""
    pinned = pins.exists() and re.search(r"/embedding-gateway\n  newName", pins.read_text())
    wanted = os.environ.get("MESH_IMAGES") == "release"
    return ["backend", "filter"] if wanted and not pinned else ["filter"]


def pin(pins: Path) -> None:
    """In the overlay that scripts/images.sh wrote: those that it did not build itself."""
    text = pins.read_text()
    for name in _OURS:
        line = re.compile(rf"^(- name: unset/\S+/{name}\n)(?!  newName)", re.MULTILINE)
        text = line.sub(rf"\1  newName: docker.io/library/{name}\n  newTag: {_OURS_TAG}\n", text)
    pins.write_text(text)


def _proxies(kit: Path, folder: Path) -> list[Image]:
    """As in the real image: the agent starts the Envoy beside it with the bootstrap beside that."""
    agent, older, newer, bootstrap, waypoint = (folder / each for each in ("agent", "envoy", "envoy-next", "bootstrap", "waypoint"))
    _install(agent, kit / "bin/pilot-agent", "/usr/local/bin/pilot-agent")
    # As this machine's linker makes it, it wants a libgcc_s; the module that is shipped does not.
    _libraries(agent, [native_module()])
    _install(older, envoy_binary(ISTIOS_ENVOY), "/usr/local/bin/envoy")
    _install(newer, envoy_binary(ENVOY_VERSION), "/usr/local/bin/envoy")
    text = (kit / "envoy_bootstrap.json").read_text()
    # A waypoint asks for the discovery of other pods' metadata, which an upstream Envoy lacks.
    for place, content in ((bootstrap, text), (waypoint, text.replace("{{- if .metadata_discovery }}", "{{- if false }}"))):
        file = place / "var/lib/istio/envoy/envoy_bootstrap_tmpl.json"
        file.parent.mkdir(parents=True)
        file.write_text(content)

    def proxy(name: str, *own: Path) -> Image:
        return Image(f"docker.io/istio/{name}:{ISTIOS_TAG}", (agent, *own), ("/usr/local/bin/pilot-agent",), "1337:1337")

    return [proxy("proxyv2", older, bootstrap), proxy("proxyv2-next", newer, bootstrap), proxy("proxyv2-waypoint", older, waypoint)]


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
    named = subprocess.run(["dpkg-query", "-W", "-f", "${db:Status-Status} ${Package}\n", *packages], capture_output=True, text=True).stdout
    installed = [name for status, _, name in (line.partition(" ") for line in named.splitlines()) if status == "installed"]
    listed = subprocess.run(["dpkg-query", "-L", *installed], check=True, capture_output=True, text=True).stdout.split("\n")
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

"""The table from image to program: what this machine runs where a cluster would pull an image."""

from pathlib import Path
from tempfile import mkdtemp

from harness.paths import ENVOY_VERSION, TOOLS, envoy_binary
from harness.programs import BROADCASTER, GATEWAY
from kubelet.images import Image, Images

_DISTROLESS_USER = 65532
_ISTIO_USER = 1337
# Of the Istio in the kit, 1.31.
ISTIOS_ENVOY = "1.39.3"


def _proxy(kit: Path, envoy: str, bootstrap: Path | None = None) -> Image:
    """As in the real image: the agent starts the Envoy beside it with the bootstrap beside that."""
    agent = "/usr/local/bin/pilot-agent"
    files = {
        agent: kit / "bin/pilot-agent",
        "/usr/local/bin/envoy": envoy_binary(envoy),
        "/var/lib/istio/envoy/envoy_bootstrap_tmpl.json": bootstrap or kit / "envoy_bootstrap.json",
    }
    return Image((agent,), files, _ISTIO_USER, system=True)


def _without_discovery(kit: Path) -> Path:
    """The bootstrap without the discovery of other pods' metadata, which an upstream Envoy lacks and a waypoint asks for."""
    path = Path(mkdtemp()) / "envoy_bootstrap.json"
    path.write_text((kit / "envoy_bootstrap.json").read_text().replace("{{- if .metadata_discovery }}", "{{- if false }}"))
    return path


def programs(kit: Path) -> Images:
    """Every image that the tests run. One without a shell in reality has none here."""
    return Images(
        {
            "embedding-gateway": Image(
                ("/usr/local/bin/embedding-gateway",),
                {f"/usr/local/bin/{program.name}": program for program in (GATEWAY, BROADCASTER)},
                _DISTROLESS_USER,
            ),
            "proxyv2": _proxy(kit, ISTIOS_ENVOY),
            # Of the mesh's own ingress gateway: manifests/ingress_gateway.yaml.
            "proxyv2-next": _proxy(kit, ENVOY_VERSION),
            # Of test_ambient.py.
            "proxyv2-waypoint": _proxy(kit, ISTIOS_ENVOY, _without_discovery(kit)),
            "varnish": Image(("varnishd", "-F"), user=1000, system=True),
            "seaweedfs": Image(("weed",), {"/usr/bin/weed": TOOLS / "venv/bin/weed"}, system=True),
            "curl": Image(("curl",), user=100, system=True),
            # The Pod of tests/mesh/test_kubelet.py.
            "caller": Image(("sleep", "infinity"), user=_DISTROLESS_USER, system=True),
        }
    )

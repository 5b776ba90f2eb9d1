"""The table from image to program: what this machine runs where a cluster would pull an image."""

from pathlib import Path

from harness.paths import TOOLS, envoy_binary
from harness.programs import BROADCASTER, GATEWAY
from kubelet.images import Image, Images

_DISTROLESS_USER = 65532
_ISTIO_USER = 1337


def programs(kit: Path) -> Images:
    """Every image that the tests run. One without a shell in reality has none here."""
    agent = "/usr/local/bin/pilot-agent"
    return Images(
        {
            "embedding-gateway": Image(
                ("/usr/local/bin/embedding-gateway",),
                {f"/usr/local/bin/{program.name}": program for program in (GATEWAY, BROADCASTER)},
                _DISTROLESS_USER,
            ),
            # As in the real image: the agent starts the Envoy beside it with the bootstrap beside that.
            "proxyv2": Image(
                (agent,),
                {
                    agent: kit / "bin/pilot-agent",
                    "/usr/local/bin/envoy": envoy_binary(),
                    "/var/lib/istio/envoy/envoy_bootstrap_tmpl.json": kit / "envoy_bootstrap.json",
                },
                _ISTIO_USER,
                system=True,
            ),
            "varnish": Image(("varnishd", "-F"), user=1000, system=True),
            "seaweedfs": Image(("weed",), {"/usr/bin/weed": TOOLS / "venv/bin/weed"}, system=True),
            "curl": Image(("curl",), user=100, system=True),
            # The Pod of tests/mesh/test_kubelet.py.
            "caller": Image(("sleep", "infinity"), user=_DISTROLESS_USER, system=True),
        }
    )

"""What leaves a Pod: the backend reaches its upstream, over TLS and by its name, and nothing else gets out."""

from collections.abc import Callable
from pathlib import Path

import pytest
from cluster.gateway import NAMESPACE
from cluster.network import NODE_ADDRESS
from cluster.upstream import ADDRESS, NAME
from cluster.waiting import until

SECONDS = 10
WAIT_SECONDS = 120


def fetching(mesh, certificate: Path) -> Callable[..., int | None]:
    """Asks for an URL from a Pod of an app; the status, None where there was no answer."""

    def fetch(app: str, url: str, *options: str) -> int | None:
        (pod, *_) = mesh.pods(NAMESPACE, f"app={app}")
        words = ["--silent", "--output", "/dev/null", "--write-out", "%{http_code}", "--max-time", str(SECONDS)]
        done = mesh.run_in(pod, "curl", *words, "--cacert", str(certificate), *options, url, timeout=4 * SECONDS)
        return int(done.stdout or 0) or None

    return fetch


@pytest.fixture
def fetch(mesh, gateway) -> Callable[..., int | None]:
    return fetching(mesh, gateway.upstream.certificate)


def test_the_backend_reaches_the_upstream_over_tls(fetch):
    # The upstream's own words to a client without a key.
    until(lambda: fetch("embedding-gateway", f"https://{NAME}/v1/models") == 401, WAIT_SECONDS, "the upstream's answer")


@pytest.mark.parametrize("app", ["embedding-gateway-varnish", "embedding-gateway-endpoint-broadcaster"])
def test_nobody_else_reaches_it(fetch, app):
    assert fetch(app, f"https://{NAME}/v1/models") is None


@pytest.mark.parametrize("app", ["embedding-gateway", "embedding-gateway-varnish", "embedding-gateway-endpoint-broadcaster"])
def test_no_other_host_is_reached(fetch, app):
    assert fetch(app, f"https://{ADDRESS}/v1/models", "--insecure") is None
    assert fetch(app, f"http://{NODE_ADDRESS}:5000/v2/") in (None, 502)

"""A pin that was never set: `kubectl apply -k` is refused, and the API server's words name it. On a real one where there is a kit."""

import re
from collections.abc import Iterator

import pytest

from . import api_server, render
from .api_server import ApiServer
from .checkout import Checkout
from .objects import Manifests, title
from .pins import UNSET, refused

# All that scripts/images.sh builds.
PARTS = ("backend", "filter", "native", "exporter")
NAMES = {"Deployment embedding-gateway", "Deployment embedding-gateway-endpoint-broadcaster", "StatefulSet embedding-gateway-varnish"}


def with_every_image(checkout: Checkout) -> None:
    """And with both ways in which one is named: the filter on the ingress gateway, the native module on Varnish's pods."""
    dev = checkout.root / "kustomize/overlays/dev/kustomization.yaml"
    added = "".join(f"- ../../components/{each}\n" for each in ("body-hash-native", "varnish-exporter"))
    dev.write_text(dev.read_text().replace("- ../../components/images\n", f"{added}- ../../components/images\n"))


def refused_workloads(manifests: Manifests) -> set[str]:
    return {title(each) for each in manifests.of("Deployment", "StatefulSet") if refused(each)}


def test_every_workload_of_ours_is_refused_until_all_is_pinned(checkout):
    with_every_image(checkout)
    assert refused_workloads(checkout.rendered("dev")) == NAMES
    assert checkout.run("filter", "native", "exporter", REGISTRY="registry.example.com:5000/team", TAG="0.0.1").returncode == 0
    assert refused_workloads(checkout.rendered()) == {each for each in NAMES if each.startswith("Deployment")}
    assert checkout.run("backend", REGISTRY="registry.example.com:5000/team", TAG="0.0.1").returncode == 0
    assert refused_workloads(checkout.rendered()) == set()
    assert [each for each in checkout.rendered().objects if "run-scripts-images.sh-first" in str(each)] == []


@pytest.mark.parametrize("overlay", ["skaffold", "skaffold-native"])
def test_skaffolds_overlays_are_refused_nowhere(overlay):
    rendered = render.build(render.KUSTOMIZE / "overlays" / overlay)
    assert refused_workloads(rendered) == set()
    assert [each for each in rendered.objects if "run-scripts-images.sh-first" in str(each)] == []


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[ApiServer]:
    running = ApiServer(tmp_path_factory.mktemp("api-server"))
    yield running
    running.stop()


@pytest.mark.skipif(bool(api_server.lacking()), reason=api_server.lacking() or "-")
def test_a_real_api_server_refuses_what_is_not_pinned_and_takes_the_rest(checkout, server):
    with_every_image(checkout)
    overlays = checkout.root / "kustomize/overlays"
    done = server.kubectl("apply", "-k", str(overlays / "dev"))
    assert done.returncode != 0
    workload = re.compile(rf'(\w+)\.apps "([\w-]+)" is invalid: .*{re.escape(UNSET)}/([\w-]+):')
    named = {each.groups() for each in map(workload.search, done.stderr.splitlines()) if each}
    assert {f"{kind} {name}" for kind, name, _ in named} == NAMES
    assert {image for *_, image in named} >= {"embedding-gateway", "body-hash-filter-native"}
    assert "unset://run-scripts-images.sh-first/body-hash-filter" in done.stderr
    assert checkout.run(*PARTS, REGISTRY="registry.example.com:5000/team", TAG="0.0.1").returncode == 0
    done = server.kubectl("apply", "-k", str(overlays / "pinned"))
    assert done.returncode == 0, done.stderr

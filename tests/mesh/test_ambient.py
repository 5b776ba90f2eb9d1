"""Ambient mode, as far as istiod goes: it takes the objects, makes a waypoint of the Gateway, and writes its configuration.

Upstream Envoys have not the filters of Istio's own that every waypoint needs, and there is no ztunnel here: nothing is served.
"""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from cluster.control_plane import ISTIOD_MONITORING
from cluster.gateway import MORE, NAMESPACE, WAVE_SECONDS
from cluster.proxy import Proxy
from cluster.waiting import until
from harness.client import send
from harness.paths import ROOT
from test_delete import NATIVE
from test_production import assert_memory_is_bound

WAYPOINT = "embedding-gateway-waypoint"
PODS = f"gateway.networking.k8s.io/gateway-name={WAYPOINT}"
VARNISH = f"embedding-gateway-varnish.{NAMESPACE}.svc.cluster.local"
# No pod of these is needed, and none would serve without ztunnel.
WORKLOADS = ("Deployment", "HorizontalPodAutoscaler", "Job", "StatefulSet")
# machine/images.py.
IMAGE = "docker.io/istio/proxyv2-waypoint:1"
# What the network policies of the tests let out to.
_LAYER = Path(__file__).parent / "layer"
_PINS = [{"name": "unset://run-scripts-images.sh-first/body-hash-filter", "newName": "oci://registry.test:5000/body-hash-filter", "digest": f"sha256:{0:064d}"}]


def render(folder: Path, *components: str) -> list[dict]:
    """All of dev with these components, but for its workloads."""
    tree = folder / "kustomize"
    shutil.copytree(ROOT / "kustomize", tree, ignore=shutil.ignore_patterns("pinned"))
    file = tree / "overlays/dev/kustomization.yaml"
    content = yaml.safe_load(file.read_text())
    # Without what tests before this one have put there.
    own = [each for each in content["components"] if Path(each).name not in {*MORE, *NATIVE}]
    content["components"] = [*own, *(f"../../components/{each}" for each in components)]
    file.write_text(yaml.safe_dump(content))
    layer = tree / "overlays/ambient"
    layer.mkdir()
    shutil.copy(tree / "components/images/image_fields.yaml", layer)
    shutil.copytree(_LAYER, tree / "overlays/tests")
    layered = {"resources": ["../dev"], "components": ["../tests"], "images": _PINS, "configurations": ["image_fields.yaml"]}
    (layer / "kustomization.yaml").write_text(yaml.safe_dump(layered))
    built = subprocess.run(["kubectl", "kustomize", layer], capture_output=True, text=True, check=True).stdout
    return [each for each in yaml.safe_load_all(built) if each["kind"] not in WORKLOADS]


@pytest.fixture(scope="module")
def objects(tmp_path_factory) -> list[dict]:
    """In ambient mode, with a proxy for the waypoint that an upstream Envoy can be."""
    kept = render(tmp_path_factory.mktemp("ambient"), "ambient")
    (waypoint,) = [each["metadata"] for each in kept if each["metadata"]["name"] == WAYPOINT and each["kind"] == "Gateway"]
    waypoint["annotations"]["sidecar.istio.io/proxyImage"] = IMAGE
    return kept


@pytest.fixture(scope="module")
def waypoint(mesh, objects) -> dict[str, Any]:
    """The configuration that istiod has for one of its pods."""
    mesh.end(NAMESPACE)
    mesh.control_plane.start_istiod(PILOT_ENABLE_AMBIENT="true")
    mesh.apply(objects)
    until(lambda: len(mesh.pods(NAMESPACE, PODS)) >= 2, WAVE_SECONDS, "istiod makes two pods of the waypoint")
    return until(lambda: configuration(mesh, ".body-hash-"), WAVE_SECONDS, "istiod has configured the waypoint")


def configuration(mesh, filters: str = "") -> dict[str, Any] | None:
    """Once it has the tunnel's listener, and a chain for Varnish's Service with filters of such names: istiod gets there by steps."""
    for pod in mesh.pods(NAMESPACE, PODS):
        answer = send(ISTIOD_MONITORING, "GET", f"/debug/config_dump?proxyID={pod['metadata']['name']}.{NAMESPACE}")
        dump = json.loads(answer.body) if answer.status == 200 else {}
        chains = chains_of(dump)
        if tunnels_of(dump) and chains and filters in json.dumps(chains):
            return dump
    return None


def found(tree: Any, *keys: str) -> Iterator[Any]:
    """The values below these keys, wherever they stand."""
    if isinstance(tree, list):
        for each in tree:
            yield from found(each, *keys)
    if isinstance(tree, dict):
        for key, value in tree.items():
            if key in keys:
                yield value
            yield from found(value, *keys)


def chains_of(configuration_: dict[str, Any]) -> list[dict[str, Any]]:
    """What a request for Varnish's Service meets there: one, once istiod has it."""
    chains = [each for chains in found(configuration_, "filterChains", "filter_chains") for each in chains]
    return [each for each in chains if each.get("name") == f"inbound-vip|6081|http|{VARNISH}"]


def chain_of(configuration_: dict[str, Any]) -> dict[str, Any]:
    (one,) = chains_of(configuration_)
    return one


def tunnels_of(configuration_: dict[str, Any]) -> list[dict[str, Any]]:
    return [each for each in found(configuration_, "listener") if each.get("name") == "connect_terminate"]


@pytest.fixture(scope="module")
def chain(waypoint) -> dict[str, Any]:
    return chain_of(waypoint)


def manager(chain: dict[str, Any]) -> dict[str, Any]:
    (one,) = [each for each in chain["filters"] if each["name"] == "envoy.filters.network.http_connection_manager"]
    return one.get("typedConfig") or one["typed_config"]


def test_the_filter_stands_behind_authorization_the_tap_first(chain):
    (filters,) = found(manager(chain), "httpFilters", "http_filters")
    names = [each["name"] for each in filters]
    ours = [name for name in names if ".body-hash-" in name]
    assert [re.search(r"body-hash-(\w+)", name)[1] for name in ours] == ["tap", "gate"]
    assert names.index("envoy.filters.http.rbac") < names.index(ours[0]) and names.index(ours[1]) < names.index("envoy.filters.http.router")
    assert json.dumps(filters).count("PURGE") >= 2, "who may purge is decided here"


def test_one_body_reaches_one_varnish(chain):
    policies = list(found(manager(chain), "hashPolicy", "hash_policy"))
    assert "x-body-hash" in json.dumps(policies)
    assert list(found(manager(chain), "retryPolicy", "retry_policy")) == [], "a repetition pays twice"


def test_what_the_sidecars_were_told_the_waypoint_is_told(chain):
    written = json.dumps(manager(chain))
    assert '"remove": "x-body-hash"' in written
    assert "%REQ(X-BODY-HASH)%" in written and "invalid_request_error" in written
    (size,) = found(manager(chain), "maxRequestHeadersKb", "max_request_headers_kb")
    assert size == 96


def test_the_tunnel_has_no_limit_of_time(waypoint):
    names = ("requestTimeout", "request_timeout")
    assert list(found(tunnels_of(waypoint), *names)) == []


def test_the_waypoints_memory_has_a_bound_below_its_pods_limit(mesh, waypoint):
    """Of what it takes from its user, ztunnel or not: its Envoy runs, and is asked for what it started with."""

    def running() -> dict[str, Any] | None:
        found = mesh.pods(NAMESPACE, PODS)
        return next((pod for pod in found if any(each["state"].get("running") for each in pod["status"].get("containerStatuses", []))), None)

    pod = until(running, WAVE_SECONDS, "a pod of the waypoint")
    (container,) = pod["spec"]["containers"]
    assert container["resources"]["limits"]["memory"] == "1Gi"
    proxy = Proxy(mesh, NAMESPACE, pod["metadata"]["name"])
    until(proxy.answers, WAVE_SECONDS, "its Envoy")
    assert_memory_is_bound(proxy, 768 * 2**20)


def test_a_traffic_extension_takes_the_place_of_the_pair(mesh, waypoint, tmp_path):
    """Component `traffic-extension`, as istiod has it: the same filters in the same order, from the other kind."""
    extensions = [each for each in render(tmp_path, "ambient", "traffic-extension") if each["kind"] == "TrafficExtension"]
    assert len(extensions) == 4
    mesh.apply(extensions)
    mesh.kubectl("-n", NAMESPACE, "delete", "wasmplugins.extensions.istio.io", "--all")

    def pair() -> list[str]:
        (filters,) = found(manager(chain_of(configuration(mesh) or waypoint)), "httpFilters", "http_filters")
        return [each["name"].rpartition(".body-hash-")[2] for each in filters if ".body-hash-" in each["name"]]

    until(lambda: pair() == ["tap", "gate"], WAVE_SECONDS, "the pair of TrafficExtensions alone")

"""One real node for all tests of a run; its logs when something fails."""

import os
import sys
from pathlib import Path

import pytest

# The control plane, the registry, the upstream and the client of tests/mesh.
sys.path.insert(0, str(Path(__file__).parents[1] / "mesh"))

from asking import fresh_key, wait_until_served  # noqa: E402
from cluster.gateway import Gateway  # noqa: E402
from machine.cluster import Cluster  # noqa: E402

_LOG_LINES = 30
# What changes the cluster comes after what asks it, and what takes it away last.
_ORDER = ["node", "clients", "scale", "native", "left", "production"]
# What dev does not have by itself, and a node can show.
_MORE = ("in-mesh-clients", "varnish-exporter")
_clusters: list[Cluster] = []


def pytest_collection_modifyitems(items):
    own = Path(__file__).parent
    items.sort(key=lambda item: _ORDER.index(item.path.stem.removeprefix("test_on_").removeprefix("test_")) if item.path.parent == own else -1)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    for cluster in _clusters if report.failed else []:
        for what in (("get", "pods", "-A", "-o", "wide"), ("get", "events", "-A", "--field-selector", "type=Warning")):
            report.sections += [(" ".join(what), cluster.kubectl(*what, check=False).stdout)]
        for log in sorted(cluster.node.folder.glob("*.log")):
            report.sections += [(log.name, "\n".join(log.read_text(errors="replace").splitlines()[-_LOG_LINES:]))]


@pytest.fixture(scope="session")
def mesh(tmp_path_factory) -> Cluster:
    running = Cluster(Path(os.environ["MESH_KIT"]), tmp_path_factory.mktemp("node"))
    _clusters.append(running)
    yield running
    running.stop()


@pytest.fixture(scope="session")
def gateway(mesh, tmp_path_factory) -> Gateway:
    """The dev overlay with `restricted` and more, applied wave by wave."""
    running = Gateway(mesh, tmp_path_factory.mktemp("gateway"), Path(__file__).parent / "overlay", s3_server="minio")
    lines = "".join(f"- ../../components/{each}\n" for each in (*_MORE, "images"))
    running.overlay.replace("overlays/dev/kustomization.yaml", "- ../../components/images\n", lines)
    running.apply_in_waves()
    wait_until_served()
    yield running
    running.stop()


@pytest.fixture
def key() -> str:
    return fresh_key()

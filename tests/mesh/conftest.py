"""One cluster for all tests of a run, and its logs when something fails."""

import os
from pathlib import Path

import pytest
from asking import fresh_key, wait_until_served
from cluster.gateway import Gateway
from cluster.mesh import Mesh
from cluster.programs import programs

_HERE = Path(__file__).parent
# The end of a log tells why; more would hide it.
_LOG_LINES = 40
# What changes the cluster comes after what asks it, and what takes it away last.
_ORDER = [
    *("kubelet", "native_init", "deploy", "filter_origin", "egress", "sdk", "http", "purge", "policies", "affinity", "updates", "delete", "production"),
    *("rejection", "ambient"),
]
_meshes: list[Mesh] = []


def pytest_configure(config):
    # A fault of the node or of a caller must not pass as success.
    config.addinivalue_line("filterwarnings", "error::pytest.PytestUnhandledThreadExceptionWarning")


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: _ORDER.index(item.path.stem.removeprefix("test_")) if item.path.parent == _HERE else -1)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        for mesh in _meshes:
            report.sections += [("pods", mesh.kubectl("get", "pods", "-A", "-o", "wide", check=False).stdout)]
            report.sections += [("configurations that proxies rejected", "\n".join(mesh.control_plane.rejection_lines()))]
            report.sections += [(log.name, _end_of(log)) for log in sorted(mesh.node.logs.iterdir())]


def pytest_terminal_summary(terminalreporter):
    """What the tests measured."""
    for report in terminalreporter.stats.get("passed", []):
        for name, value in report.user_properties:
            terminalreporter.write_line(f"{name}: {value}")


@pytest.fixture(scope="session")
def mesh(tmp_path_factory) -> Mesh:
    kit = Path(os.environ["MESH_KIT"])
    running = Mesh(kit, programs(kit), tmp_path_factory.mktemp("mesh"))
    _meshes.append(running)
    yield running
    running.stop()


@pytest.fixture(scope="session")
def gateway(mesh, tmp_path_factory) -> Gateway:
    """The dev overlay, applied wave by wave."""
    running = Gateway(mesh, tmp_path_factory.mktemp("gateway"))
    running.apply_in_waves()
    wait_until_served()
    yield running
    running.stop()


@pytest.fixture
def key() -> str:
    """A credential of its own for each test: what another test cached is not its to see."""
    return fresh_key()


def _end_of(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-_LOG_LINES:])

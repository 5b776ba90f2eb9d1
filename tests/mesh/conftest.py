"""One cluster of one real node for all tests of a run, and its logs when something fails."""

import os
from pathlib import Path

import pytest
from asking import fresh_key, wait_until_served
from cluster.gateway import NAMESPACE, Gateway
from cluster.mesh import Mesh

_HERE = Path(__file__).parent
# The end of a log tells why; more would hide it.
_LOG_LINES = 30
# The first test of an overlay brings all of it up, on processors that others use too.
_TIMEOUT_SECONDS = 1500
# What changes the cluster comes after what asks it, and what takes it away last.
_ORDER = [
    *("native_init", "deploy", "filter_origin", "egress", "sdk", "http", "purge", "policies", "node", "attacks", "affinity", "updates"),
    *("scale", "clients", "scaled_down", "delete", "native", "several", "production", "rejection", "ambient"),
]
_meshes: list[Mesh] = []


def pytest_configure(config):
    # A fault of a caller must not pass as success.
    config.addinivalue_line("filterwarnings", "error::pytest.PytestUnhandledThreadExceptionWarning")


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: _ORDER.index(item.path.stem.removeprefix("test_")) if item.path.parent == _HERE else -1)
    for item in items:
        if item.path.parent == _HERE:
            item.add_marker(pytest.mark.timeout(_TIMEOUT_SECONDS))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    for mesh in _meshes if report.failed else []:
        for what in (("get", "pods", "-A", "-o", "wide"), ("get", "events", "-A", "--field-selector", "type=Warning")):
            report.sections += [(" ".join(what), mesh.kubectl(*what, check=False).stdout)]
        report.sections += [("configurations that proxies rejected", "\n".join(mesh.control_plane.rejection_lines()))]
        report.sections += [(name, _end_of(text)) for name, text in mesh.logs_of_all(NAMESPACE)]
        report.sections += [(log.name, _end_of(log.read_text(errors="replace"))) for log in sorted(mesh.node.folder.glob("*.log"))]


def pytest_terminal_summary(terminalreporter):
    """What the tests measured."""
    for report in terminalreporter.stats.get("passed", []):
        for name, value in report.user_properties:
            terminalreporter.write_line(f"{name}: {value}")


@pytest.fixture(scope="session")
def mesh(tmp_path_factory) -> Mesh:
    running = Mesh(Path(os.environ["MESH_KIT"]), tmp_path_factory.mktemp("mesh"))
    _meshes.append(running)
    yield running
    running.stop()


@pytest.fixture(scope="session")
def gateway(mesh, tmp_path_factory) -> Gateway:
    """The dev overlay with `restricted` and more, applied wave by wave."""
    running = Gateway(mesh, tmp_path_factory.mktemp("gateway"))
    running.apply_in_waves()
    # Long before test_scale.py asks for them.
    mesh.measure()
    running.wait_for_varnish_at_the_ingress()
    wait_until_served()
    yield running
    running.stop()


@pytest.fixture
def key() -> str:
    """A credential of its own for each test: what another test cached is not its to see."""
    return fresh_key()


def _end_of(text: str) -> str:
    return "\n".join(text.splitlines()[-_LOG_LINES:])

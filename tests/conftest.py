"""What every whole-system test gets: the harness, an origin, the logs of what ran when it fails, and a search for keys."""

import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import processes, secrets
from harness.collector import Collector
from harness.origin import Origin

# The end of a log tells why; more would hide it.
_LOG_LINES = 60


def pytest_configure() -> None:
    """By SIGTERM, scripts/test.sh passes on a Ctrl-C: like that, it ends a session with all that the session started."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        for process in processes.running():
            lines = process.log_text().splitlines()[-_LOG_LINES:]
            report.sections.append((f"{process.log.name} of process {process.pid}", "\n".join(lines)))


@pytest.fixture(scope="session")
def public_folder() -> Iterator[Path]:
    """A folder that others may read: started by root, varnishd compiles its VCL as another user."""
    path = Path(tempfile.mkdtemp(prefix="tests-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="session", autouse=True)
def no_key_is_written_down(tmp_path_factory, public_folder) -> Iterator[None]:
    """Made before all that a session runs, and so the last to end: by then everything is said."""
    with Collector(lambda export: secrets.told("a trace", export)) as collector:
        secrets.talkative["OTEL_EXPORTER_OTLP_ENDPOINT"] = collector.url
        yield
    assert secrets.strangers() == [], "they use keys that harness.secrets did not make"
    found = secrets.findings(tmp_path_factory.getbasetemp(), public_folder)
    assert found == [], "keys are written down:\n" + "\n".join(found)


@pytest.fixture(scope="session")
def origin(tmp_path_factory) -> Origin:
    """One recording origin for all tests of a run."""
    with Origin(Path(tmp_path_factory.mktemp("origin"))) as running:
        yield running

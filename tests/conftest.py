"""What every whole-system test gets: the harness, an origin, and the logs of what ran when it fails."""

from pathlib import Path

import pytest
from harness import processes
from harness.origin import Origin

# The end of a log tells why; more would hide it.
_LOG_LINES = 60


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        for process in processes.running():
            lines = process.log_text().splitlines()[-_LOG_LINES:]
            report.sections.append((f"{process.log.name} of process {process.pid}", "\n".join(lines)))


@pytest.fixture(scope="session")
def origin(tmp_path_factory) -> Origin:
    """One recording origin for all tests of a run."""
    with Origin(Path(tmp_path_factory.mktemp("origin"))) as running:
        yield running

"""A backend for each test, and varnishd as often as the test starts it."""

import shutil
import tempfile
from pathlib import Path

import pytest

from . import varnish


@pytest.fixture
def backend():
    running = varnish.Backend()
    yield running
    running.stop()


@pytest.fixture
def folder():
    """A folder that others may read: started by root, varnishd compiles its VCL as another user."""
    path = Path(tempfile.mkdtemp(prefix="varnish-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def start(folder, backend):
    """Starts varnishd by start.sh, with its environment variables as arguments."""
    started = []

    def start_one(**environment: str) -> varnish.Varnish:
        started.append(varnish.start(folder / str(len(started)), backend.port, **environment))
        return started[-1]

    yield start_one
    for one in started:
        one.process.stop()

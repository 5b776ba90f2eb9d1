"""A backend for each test, and varnishd as often as the test starts it."""

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
def start(public_folder, backend):
    """Starts varnishd by start.sh, with its environment variables as arguments."""
    started = []

    def start_one(**environment: str) -> varnish.Varnish:
        folder = Path(tempfile.mkdtemp(dir=public_folder))
        started.append(varnish.start(folder, backend.port, **environment))
        return started[-1]

    yield start_one
    for one in started:
        one.process.stop()

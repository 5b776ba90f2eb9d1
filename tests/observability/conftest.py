"""One load for all tests of the dashboard."""

import pytest
from dashboard import Watched
from watching import watch


@pytest.fixture(scope="session")
def watched(tmp_path_factory) -> Watched:
    with watch(tmp_path_factory.mktemp("watched")) as seen:
        yield seen

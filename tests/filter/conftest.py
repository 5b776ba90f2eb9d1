"""Fixtures of the filter's table: the module under test and Envoys that run it."""

import itertools
import json
from pathlib import Path

import pytest
from harness import paths

from .attachments import ATTACHMENTS, chain
from .discovered import DiscoveredFilters
from .gateway import Gateway, installed
from .modules import another_build

# The longest row takes about a minute on two shared cores; whatever takes longer hangs.
ROW_SECONDS = 150


def pytest_collection_modifyitems(items):
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.timeout(ROW_SECONDS))


@pytest.fixture(scope="session")
def module():
    """The release build of the filter. It is the thing under test: without it the table fails, it does not skip."""
    try:
        return paths.filter_module()
    except FileNotFoundError as missing:
        pytest.fail(str(missing))


@pytest.fixture(params=ATTACHMENTS, scope="module")
def attachment(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def version() -> str:
    """The Envoy that a test runs on."""
    return installed(paths.ENVOY_VERSION)


@pytest.fixture(scope="module")
def start(origin, version, tmp_path_factory):
    """Starts a gateway with these filters, or gives the one of this file that runs them already."""
    running = {}

    def gateway(filters, **options) -> Gateway:
        key = json.dumps([filters, options], sort_keys=True)
        if key not in running:
            running[key] = Gateway(filters, origin, tmp_path_factory.mktemp("envoy"), version=version, **options)
        return running[key]

    yield gateway
    for each in running.values():
        each.stop()


@pytest.fixture(scope="module")
def gateway(start, module, attachment) -> Gateway:
    """The filter as it is by default, in each attachment."""
    return start(chain(attachment, module))


@pytest.fixture
def new_module(module, tmp_path):
    """Makes a build that Envoy takes for another module, each time another one."""
    numbers = itertools.count()
    return lambda: another_build(module, tmp_path / f"filter-{next(numbers)}.wasm")


@pytest.fixture
def discovered(module, origin, version, tmp_path):
    """Starts the filters of an attachment as discovered ones."""
    running = []

    def start(attachment: str, *, configuration=None, **options) -> DiscoveredFilters:
        members = chain(attachment, module, **(configuration or {}))
        filters = DiscoveredFilters(members, tmp_path, origin, version=version, **options)
        running.append(filters)
        return filters

    yield start
    for each in running:
        each.gateway.stop()

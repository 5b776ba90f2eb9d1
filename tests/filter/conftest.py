"""Fixtures of the filter's table: the module under test and Envoys that run it."""

import json

import pytest
from harness import paths

from .attachments import ATTACHMENTS, chain
from .gateway import Gateway


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
def start(origin, tmp_path_factory):
    """Starts a gateway with these filters, or gives the one of this file that runs them already."""
    running = {}

    def gateway(filters, **options) -> Gateway:
        key = json.dumps([filters, options], sort_keys=True)
        if key not in running:
            running[key] = Gateway(filters, origin, tmp_path_factory.mktemp("envoy"), **options)
        return running[key]

    yield gateway
    for each in running.values():
        each.stop()


@pytest.fixture(scope="module")
def gateway(start, module, attachment) -> Gateway:
    """The filter as it is by default, in each attachment."""
    return start(chain(attachment, module))

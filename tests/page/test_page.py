"""The page for people in a real Chromium: its tests stand in page.test.mjs and run on the whole chain."""

from pathlib import Path

import pytest
from harness import node
from harness.chain import environment, start_chain, stop_chain
from harness.secrets import secret


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    running = start_chain(tmp_path_factory.mktemp("chain"))
    yield running
    stop_chain(running)


def test_the_page_in_a_browser(chain):
    tests = Path(__file__).with_name("page.test.mjs")
    node.run_tests(tests, environment(PAGE_URL=chain.url, UPSTREAM_URL=chain.upstream, API_KEY=secret("page")), timeout=300)

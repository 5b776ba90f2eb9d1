"""The page for people in a real Chromium: its tests stand in page.test.mjs and run on the whole chain."""

import subprocess

import pytest
from chain import ROOT, environment, start_chain, stop_chain
from harness.secrets import secret


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    running = start_chain(tmp_path_factory.mktemp("chain"))
    yield running
    stop_chain(running)


def test_the_page_in_a_browser(chain):
    run = subprocess.run(
        [ROOT / ".tools/bin/node", "--test", "page.test.mjs"],
        cwd=ROOT / "tests/page",
        env=environment(PAGE_URL=chain.url, UPSTREAM_URL=chain.upstream, API_KEY=secret("page")),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert run.returncode == 0, run.stdout + run.stderr

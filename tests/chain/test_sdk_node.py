"""The official Node SDK: its tests stand in sdk.test.mjs and run on the same chain."""

import subprocess

from chain import ROOT, environment
from harness.secrets import secret


def test_the_node_sdk_through_the_chain(chain):
    run = subprocess.run(
        [ROOT / ".tools/bin/node", "--test", "sdk.test.mjs"],
        cwd=ROOT / "tests/chain",
        env=environment(CHAIN_URL=chain.url, UPSTREAM_URL=chain.upstream, API_KEY=secret("node")),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.returncode == 0, run.stdout + run.stderr

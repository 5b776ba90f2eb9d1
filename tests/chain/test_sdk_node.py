"""The official Node SDK: its tests stand in sdk.test.mjs and run on the same chain."""

from pathlib import Path

from harness import node
from harness.chain import environment
from harness.secrets import secret


def test_the_node_sdk_through_the_chain(chain):
    tests = Path(__file__).with_name("sdk.test.mjs")
    node.run_tests(tests, environment(CHAIN_URL=chain.url, UPSTREAM_URL=chain.upstream, API_KEY=secret("node")), timeout=120)

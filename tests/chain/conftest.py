"""One chain for the session; each test finds its upstream well-behaved and its count at 0."""

import pytest
from harness.chain import start_chain, stop_chain


@pytest.fixture(scope="session")
def running_chain(tmp_path_factory):
    # Clients see refusals of a rate: backend/tests/gateway/pace.rs has what the gateway makes of them.
    chain = start_chain(tmp_path_factory.mktemp("chain"), RATE_WAIT="0s")
    yield chain
    stop_chain(chain)


@pytest.fixture
def chain(running_chain):
    """The one chain of the session, with an upstream that behaves and whose count starts at 0."""
    running_chain.behave()
    running_chain.forget_upstream_stats()
    yield running_chain
    running_chain.behave()

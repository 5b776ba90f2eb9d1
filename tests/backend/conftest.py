"""The stand-in and the S3 server are started once; each test starts the gateways that it needs."""

import itertools

import pytest
from harness.gateway import Gateway
from harness.s3 import S3Server
from harness.standin import Standin


@pytest.fixture(scope="session")
def standin(tmp_path_factory):
    running = Standin(tmp_path_factory.mktemp("upstream") / "standin")
    yield running
    running.stop()


@pytest.fixture(scope="session")
def s3(tmp_path_factory):
    running = S3Server(tmp_path_factory.mktemp("s3") / "seaweedfs")
    yield running
    running.stop()


@pytest.fixture
def start(tmp_path, standin):
    """Starts gateways in front of the stand-in; ends them with the test."""
    started = []
    numbers = itertools.count()

    def start_gateway(**variables: str) -> Gateway:
        gateway = Gateway(tmp_path / f"gateway-{next(numbers)}", standin.url, **variables)
        started.append(gateway)
        return gateway

    yield start_gateway
    for gateway in started:
        gateway.end()


@pytest.fixture
def accept():
    """Earns a key its hits at a gateway, with an input that no other test uses."""
    numbers = itertools.count()

    def earn(gateway: Gateway, **arguments) -> None:
        text = f"to be accepted {next(numbers)} at {gateway.url}"
        assert gateway.embed(text, **arguments).status == 200

    return earn

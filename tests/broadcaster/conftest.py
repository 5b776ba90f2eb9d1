"""Three varnishd on one port, as three pods are, and the backend and name server beside them."""

from collections.abc import Callable, Iterator

import pytest
from harness.gateway import Gateway
from harness.secrets import secret
from harness.standin import Standin
from varnish import varnish

from .broadcaster import Broadcaster, Hanging
from .zone import Zone

ADDRESSES = ("127.0.0.1", "127.0.0.2", "127.0.0.3")
TOKEN = secret("backend")


@pytest.fixture(scope="session")
def origin_of_answers() -> Iterator[varnish.Backend]:
    """What Varnish fetches from: it counts."""
    running = varnish.Backend()
    yield running
    running.stop()


@pytest.fixture(scope="session")
def varnishes(public_folder, origin_of_answers) -> Iterator[list[varnish.Varnish]]:
    """One for each address, called varnish-0, varnish-1, varnish-2."""
    port = varnish.free_port()
    running = [
        varnish.start(public_folder / f"varnish-{number}", origin_of_answers.port, address, port, IDENTITY=f"varnish-{number}")
        for number, address in enumerate(ADDRESSES)
    ]
    yield running
    for one in running:
        one.process.stop()


@pytest.fixture(scope="session")
def gateway(tmp_path_factory) -> Iterator[Gateway]:
    """The backend that is purged first; it wants a token."""
    standin = Standin(tmp_path_factory.mktemp("standin") / "standin")
    running = Gateway(tmp_path_factory.mktemp("gateway") / "gateway", standin.url, ADMIN_TOKEN=TOKEN)
    yield running
    running.end()
    standin.stop()


@pytest.fixture
def zone() -> Iterator[Zone]:
    running = Zone(*ADDRESSES)
    yield running
    running.stop()


@pytest.fixture
def start(tmp_path, zone, gateway) -> Iterator[Callable[..., Broadcaster]]:
    """Starts a broadcaster for the Varnishes on a port, with environment variables as arguments."""
    started = []

    def start_one(port: int, **variables: str) -> Broadcaster:
        backend = {"BACKEND_SERVICE": gateway.url.removeprefix("http://"), "BACKEND_ADMIN_TOKEN": TOKEN}
        started.append(Broadcaster(tmp_path, zone, port, **(backend | variables)))
        return started[-1]

    yield start_one
    for one in started:
        one.stop()


@pytest.fixture
def hanging() -> Iterator[Callable[[str, int], Hanging]]:
    """Puts something at an address that never answers."""
    started = []

    def hang(address: str, port: int) -> Hanging:
        started.append(Hanging(address, port))
        return started[-1]

    yield hang
    for one in started:
        one.stop()

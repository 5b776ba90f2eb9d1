"""An Envoy with the filter in front of the recording origin, and what it counts."""

import re
from contextlib import contextmanager
from pathlib import Path

import pytest
from harness import paths
from harness.envoy import Envoy
from harness.envoy_config import bootstrap, cluster, connect_route, http_connection_manager, listener, route
from harness.origin import Origin
from harness.waiting import eventually

# The names of wasm and native statistics, without what differs.
_STATS = re.compile(r"^(?:wasmcustom\.)?body_hash\.(?:(skipped\.)(?:reason\.)?)?(\w+)$")
_LISTENER = "main"
# How Envoy's log tells that a wasm module has trapped.
_PANIC = re.compile(r"panicked|RuntimeError|Function: proxy_\w+ failed")


def installed(version: str) -> str:
    """The version, if it is installed; else the test is skipped and says how to install it."""
    try:
        paths.envoy_binary(version)
    except FileNotFoundError as missing:
        pytest.skip(str(missing))
    return version


def filter_stats(envoy: Envoy) -> dict[str, int]:
    """What the filter counts in this Envoy, by the same names in every attachment."""
    named = [(_STATS.match(name), value) for name, value in envoy.stats("(wasmcustom.)?body_hash.").items()]
    return {(name[1] or "") + name[2]: value for name, value in named if name}


class Gateway:
    """One Envoy with one listener that runs `filters` and forwards everything to the origin."""

    def __init__(
        self,
        filters,
        origin: Origin,
        folder: Path,
        *,
        listener_options=None,
        manager_options=None,
        routes=None,
        cluster_options=None,
        **envoy_options,
    ) -> None:
        routes = routes or [connect_route("origin"), route("origin")]
        manager = http_connection_manager(filters, routes, **(manager_options or {}))
        upstream = cluster("origin", origin.port, **(cluster_options or {}))
        configuration = bootstrap([listener(_LISTENER, manager, **(listener_options or {}))], [upstream])
        self.origin = origin
        self.envoy = Envoy(configuration, folder, **envoy_options)
        self.port = self.envoy.port(_LISTENER)

    def stop(self) -> None:
        """Ends Envoy; AssertionError if the filter panicked or Envoy died while it ran."""
        died = self.envoy.process.exit_code
        self.envoy.stop()
        assert died is None, self.envoy.process.log_text()
        panics = [line for line in self.envoy.process.log_text().splitlines() if _PANIC.search(line)]
        assert panics == []

    def counters(self) -> dict[str, int]:
        """The filter's counters that are not 0."""
        return {name: value for name, value in filter_stats(self.envoy).items() if value and name != "held"}

    def held(self) -> int:
        """How many requests the filter holds now."""
        return filter_stats(self.envoy)["held"]

    def holds(self, count: int) -> None:
        """Waits until exactly so many requests are held."""
        eventually(lambda: self.held() == count, what=f"{count} held requests")

    @contextmanager
    def letting_go(self):
        """Waits, at the end of the block, until the filter has let go one more stalled request: held it is only for a moment."""
        before = self._stalled()
        yield
        eventually(lambda: self._stalled() > before, what="a stalled request to be let go")

    def _stalled(self) -> int:
        return self.counters().get("skipped.stalled", 0)

    @contextmanager
    def counting(self):
        """A dictionary that holds, after the block, what the filter counted in it."""
        before, counted = self.counters(), {}
        yield counted
        after = self.counters()
        counted.update({name: value - before.get(name, 0) for name, value in after.items() if value != before.get(name, 0)})

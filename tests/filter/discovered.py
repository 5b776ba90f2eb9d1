"""Filters that Envoy discovers (ECDS) in files, as a mesh delivers them: a changed file changes the filter under way."""

import itertools
import json
import os
from pathlib import Path

from harness.envoy_config import discovered_filter, filter_resource
from harness.waiting import eventually

from .attachments import PATIENT_MILLISECONDS, member
from .gateway import Gateway

_STATS = "extension_config_discovery.http_filter."
_numbers = itertools.count(1)


def changed(role: str, module, stall_milliseconds: int = PATIENT_MILLISECONDS) -> dict:
    """The member with a configuration that no member had before and that means the same to the traffic."""
    return member(role, module, stallTimeout=stall_milliseconds + next(_numbers) % 100)


class DiscoveredFilters:
    """The files of some filters, and the Envoy that watches them."""

    def __init__(self, plugins: list[dict], folder: Path, origin, **options) -> None:
        self._folder = folder
        for plugin in plugins:
            self._move_in(plugin)
        filters = [discovered_filter(plugin["name"], self._path(plugin["name"]), plugin["typed_config"]["@type"]) for plugin in plugins]
        self.gateway = Gateway(filters, origin, folder, **options)
        for plugin in plugins:
            eventually(lambda name=plugin["name"]: self._count(name, "config_reload"), what="the first configuration")

    def update(self, plugin: dict) -> None:
        """Replaces one filter's configuration and waits until Envoy has taken it."""
        before = self._count(plugin["name"], "config_reload")
        self._move_in(plugin)
        eventually(lambda: self._count(plugin["name"], "config_reload") > before, what="Envoy to take the configuration")

    def update_refused(self, plugin: dict) -> None:
        """Offers a configuration that Envoy must refuse."""
        before = self._count(plugin["name"], "config_fail") + self._count(plugin["name"], "update_rejected")
        self._move_in(plugin)
        eventually(
            lambda: self._count(plugin["name"], "config_fail") + self._count(plugin["name"], "update_rejected") > before,
            what="Envoy to refuse the configuration",
        )

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.json"

    def _move_in(self, plugin: dict) -> None:
        """Envoy watches for files that are moved into place: a reader never sees half of one."""
        unfinished = self._folder / "unfinished"
        unfinished.write_text(json.dumps(filter_resource(plugin["name"], plugin["typed_config"])))
        os.replace(unfinished, self._path(plugin["name"]))

    def _count(self, name: str, counter: str) -> int:
        return self.gateway.envoy.stats(f"{_STATS}{name}.")[counter]

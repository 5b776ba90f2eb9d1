"""Filters that Envoy discovers (ECDS) in files, as a mesh delivers them: change the file and the filter changes under way."""

import json
import os
from pathlib import Path

from harness.envoy_config import discovered_filter, filter_resource
from harness.waiting import eventually

from .gateway import Gateway

_STATS = "extension_config_discovery.http_filter."


class DiscoveredFilters:
    """The files of some filters, and the Envoy that watches them."""

    def __init__(self, members: list[dict], folder: Path, origin, **options) -> None:
        self._folder = folder
        for member in members:
            self._move_in(member)
        filters = [discovered_filter(member["name"], self._path(member["name"])) for member in members]
        self.gateway = Gateway(filters, origin, folder, **options)
        for member in members:
            eventually(lambda name=member["name"]: self._count(name, "config_reload"), what="the first configuration")

    def update(self, member: dict) -> None:
        """Replaces one filter's configuration and waits until Envoy has taken it."""
        before = self._count(member["name"], "config_reload")
        self._move_in(member)
        eventually(lambda: self._count(member["name"], "config_reload") > before, what="Envoy to take the configuration")

    def update_refused(self, member: dict) -> None:
        """Offers a configuration that Envoy must refuse."""
        before = self._count(member["name"], "config_fail") + self._count(member["name"], "update_rejected")
        self._move_in(member)
        eventually(
            lambda: self._count(member["name"], "config_fail") + self._count(member["name"], "update_rejected") > before,
            what="Envoy to refuse the configuration",
        )

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.json"

    def _move_in(self, member: dict) -> None:
        """Envoy watches for files that are moved into place: a reader never sees half of one."""
        unfinished = self._folder / "unfinished"
        unfinished.write_text(json.dumps(filter_resource(member["name"], member["typed_config"])))
        os.replace(unfinished, self._path(member["name"]))

    def _count(self, name: str, counter: str) -> int:
        return self.gateway.envoy.stats(f"{_STATS}{name}.")[counter]

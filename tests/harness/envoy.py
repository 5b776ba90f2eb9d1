"""A running Envoy: started on free ports from a generated configuration, asked through its admin interface."""

import json
import os
import urllib.error
import urllib.request
from pathlib import Path

from . import paths
from .processes import Process
from .waiting import eventually

# Compiling a wasm module for each worker on a busy machine.
START_SECONDS = 30
_LOG_LEVELS = ("--log-level", "warning", "--component-log-level", "wasm:info")


class Refused(Exception):
    """Envoy did not start with this configuration; holds its log."""


class Envoy:
    """One Envoy process with its files in `folder`. Use as a context manager, or call `stop`.

    It runs in the root of the repository: relative paths in a configuration start there. `modules` is where it finds
    native ones.
    """

    def __init__(
        self,
        configuration: dict,
        folder: Path,
        *,
        version: str = paths.ENVOY_VERSION,
        concurrency: int = 1,
        modules: Path = paths.NATIVE_MODULE.parent,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        config = folder / "envoy.json"
        config.write_text(json.dumps(configuration, indent=1))
        admin = folder / "admin-address"
        self.process = Process(
            [paths.envoy_binary(version), "-c", config, "--disable-hot-restart", "--concurrency", concurrency]
            + ["--admin-address-path", admin, *_LOG_LEVELS],
            folder / "envoy.log",
            cwd=paths.ROOT,
            env=os.environ | {"ENVOY_DYNAMIC_MODULES_SEARCH_PATH": str(modules)},
        )
        try:
            self.admin = eventually(lambda: self._read_address(admin), START_SECONDS, "Envoy's admin address")
            eventually(self._is_ready, START_SECONDS, "Envoy ready")
        except BaseException:
            self.stop()
            raise

    def __enter__(self) -> "Envoy":
        return self

    def __exit__(self, *_) -> None:
        self.stop()

    def stop(self) -> None:
        self.process.stop()

    def get(self, path: str) -> str:
        """The text of an admin page."""
        with urllib.request.urlopen(f"http://{self.admin}{path}", timeout=30) as answer:
            return answer.read().decode()

    def port(self, listener: str) -> int:
        """The port that a listener got."""
        for status in json.loads(self.get("/listeners?format=json"))["listener_statuses"]:
            if status["name"] == listener:
                return status["local_address"]["socket_address"]["port_value"]
        raise KeyError(listener)

    def stats(self, prefix: str) -> dict[str, int]:
        """Counters and gauges whose names start with `prefix`, by the rest of their names."""
        lines = (line.partition(": ") for line in self.get(f"/stats?filter=^{prefix}").splitlines())
        return {name.removeprefix(prefix): int(value) for name, _, value in lines if value.isdigit()}

    def _read_address(self, file: Path) -> str | None:
        self._check_alive()
        return file.read_text().strip() if file.exists() else None

    def _is_ready(self) -> bool:
        self._check_alive()
        try:
            return self.get("/ready").strip() == "LIVE"
        except (urllib.error.URLError, OSError):
            return False

    def _check_alive(self) -> None:
        if self.process.exit_code is not None:
            raise Refused(self.process.log_text())

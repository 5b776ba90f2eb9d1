"""What Prometheus scrapes of a running chain: gateway, broadcaster, Envoy with the filter, and Varnish by an exporter."""

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from harness.chain import Chain
from harness.paths import TOOLS
from harness.ports import free_port
from harness.processes import Process
from prometheus import Prometheus, job


@dataclass
class Stack:
    """A Prometheus that watches a chain, and the settled moments between which it counts."""

    prometheus: Prometheus
    began: float
    ended: float = 0.0

    def end(self) -> None:
        """Waits until everything that has happened was scraped, and takes this for the end."""
        self.ended = self.prometheus.settle()


@contextmanager
def watching(chain: Chain, folder: Path) -> Iterator[Stack]:
    """Scrapes the chain, from the first sample of every target on."""
    port = free_port()
    jobs = [
        job("embedding-gateway", _address(chain, "^backend: +")),
        job("endpoint-broadcaster", _address(chain, "-X PURGE ")),
        job("envoy", _address(chain, "^Envoy: +"), metrics_path="/stats/prometheus"),
        job("varnish", f"127.0.0.1:{port}"),
    ]
    exporter = _exporter(chain, port, folder)
    try:
        with Prometheus(jobs, folder / "prometheus") as prometheus:
            yield Stack(prometheus, prometheus.settle())
    finally:
        exporter.stop()


def _address(chain: Chain, before: str) -> str:
    """The address that scripts/run.sh printed behind these words."""
    return re.search(rf"{before}http://([^/\s]+)", chain.output, re.M).group(1)


def _exporter(chain: Chain, port: int, folder: Path) -> Process:
    folder.mkdir(parents=True)
    directory = re.search(r"varnishstat -n (\S+)\)", chain.output).group(1)
    arguments = ["-n", directory, "-web.listen-address", f"127.0.0.1:{port}", "-varnishstat-path", shutil.which("varnishstat")]
    return Process([TOOLS / "bin/prometheus-varnish-exporter", *arguments], folder / "exporter.log")

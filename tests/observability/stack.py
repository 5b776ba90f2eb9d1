"""A real Prometheus that scrapes the whole chain: the gateway, Varnish by an exporter, and Envoy with the filter."""

import json
import re
import shutil
import time
import urllib.parse
import urllib.request
from pathlib import Path

import yaml
from chain import Chain, free_port
from harness.paths import TOOLS
from harness.processes import Process
from harness.waiting import eventually

SCRAPE_SECONDS = 0.5
START_SECONDS = 60


class Stack:
    """Prometheus and the exporter beside a running chain. Use as a context manager."""

    def __init__(self, chain: Chain, folder: Path) -> None:
        folder.mkdir(parents=True)
        self.chain = chain
        exporter, own = free_port(), free_port()
        targets = {
            "embedding-gateway": _address(chain, "^backend: +"),
            "endpoint-broadcaster": _address(chain, "-X PURGE "),
            "varnish": f"127.0.0.1:{exporter}",
            "envoy": _address(chain, "^Envoy: +"),
        }
        self._targets = len(targets)
        self._processes = [_exporter(chain, exporter, folder), _prometheus(targets, own, folder)]
        self.url = f"http://127.0.0.1:{own}"

    def __enter__(self) -> "Stack":
        try:
            eventually(self._sees_everything, START_SECONDS, "every target scraped")
        except BaseException:
            self.__exit__()
            raise
        self.began = time.time()
        # What happens before the first sample within the range is in none of its differences.
        self.catch_up()
        return self

    def __exit__(self, *_) -> None:
        for process in self._processes:
            process.stop()

    def catch_up(self) -> None:
        """Waits until everything that has happened was scraped, and takes this for the end."""
        now = time.time()
        oldest = "min(timestamp(up))"
        eventually(lambda: float(self.query(oldest, time.time())[0]["value"][1]) > now + SCRAPE_SECONDS, START_SECONDS, "a scrape of every target")
        self.ended = time.time()

    def query(self, expression: str, at: float) -> list[dict]:
        return self._get("query", query=expression, time=at)["result"]

    def query_range(self, expression: str, begin: float, end: float, step: float) -> list[dict]:
        return self._get("query_range", query=expression, start=begin, end=end, step=step)["result"]

    def _get(self, path: str, **parameters) -> dict:
        with urllib.request.urlopen(f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}", timeout=30) as answer:
            found = json.load(answer)
        assert found["status"] == "success", found
        return found["data"]

    def _sees_everything(self) -> bool:
        try:
            seen = self.query("sum(up)", time.time())
        except OSError:
            return False
        return bool(seen) and seen[0]["value"][1] == str(self._targets)


def _address(chain: Chain, before: str) -> str:
    """The address that scripts/run.sh printed behind these words."""
    return re.search(rf"{before}http://([^/\s]+)", chain.output, re.M).group(1)


def _exporter(chain: Chain, port: int, folder: Path) -> Process:
    directory = re.search(r"varnishstat -n (\S+)\)", chain.output).group(1)
    arguments = ["-n", directory, "-web.listen-address", f"127.0.0.1:{port}"]
    return Process([TOOLS / "bin/prometheus-varnish-exporter", *arguments, "-varnishstat-path", shutil.which("varnishstat")], folder / "exporter.log")


def _prometheus(targets: dict[str, str], port: int, folder: Path) -> Process:
    jobs = [{"job_name": name, "static_configs": [{"targets": [address]}]} for name, address in targets.items()]
    next(job for job in jobs if job["job_name"] == "envoy")["metrics_path"] = "/stats/prometheus"
    interval = f"{int(SCRAPE_SECONDS * 1000)}ms"
    settings = {"global": {"scrape_interval": interval, "scrape_timeout": interval}, "scrape_configs": jobs}
    config = folder / "prometheus.yml"
    config.write_text(yaml.safe_dump(settings))
    arguments = [f"--config.file={config}", f"--storage.tsdb.path={folder / 'data'}", f"--web.listen-address=127.0.0.1:{port}"]
    return Process([TOOLS / "bin/prometheus", *arguments], folder / "prometheus.log")

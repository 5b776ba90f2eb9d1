"""A real Prometheus that scrapes what it is told to, and answers queries."""

import json
import time
import urllib.parse
import urllib.request
from pathlib import Path

import yaml
from harness.client import answers
from harness.paths import TOOLS
from harness.ports import free_port
from harness.processes import Process
from harness.waiting import eventually

SCRAPE_SECONDS = 0.5
START_SECONDS = 60


class Prometheus:
    """One Prometheus with these scrape jobs, one target each. Use as a context manager."""

    def __init__(self, jobs: list[dict], folder: Path) -> None:
        folder.mkdir(parents=True)
        self._targets = len(jobs)
        interval = f"{int(SCRAPE_SECONDS * 1000)}ms"
        config = folder / "prometheus.yml"
        config.write_text(yaml.safe_dump({"global": {"scrape_interval": interval, "scrape_timeout": interval}, "scrape_configs": jobs}))
        port = free_port()
        arguments = [f"--config.file={config}", f"--storage.tsdb.path={folder / 'data'}", f"--web.listen-address=127.0.0.1:{port}"]
        self._url = f"http://127.0.0.1:{port}"
        self._process = Process([TOOLS / "bin/prometheus", *arguments], folder / "prometheus.log")

    def __enter__(self) -> "Prometheus":
        try:
            eventually(self._answers, START_SECONDS, "Prometheus")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_) -> None:
        self._process.stop()

    def settle(self) -> float:
        """Waits until every target was scraped after this call; returns a moment whose values are known and stay.

        A value at that moment is from after all that happened before this call, and from before all that happens after it.
        """
        return eventually(self._settled_moment, START_SECONDS, "a good scrape of every target")

    def _settled_moment(self) -> float | None:
        moment = self._scraped_since(time.time())
        # A target is scraped once at a time: with the next scrape seen, those that had begun by that moment have ended.
        self._scraped_since(moment)
        return moment if self._all_up(moment) else None

    def _scraped_since(self, begin: float) -> float:
        """Waits until every target answered a scrape that began later; returns when that was seen."""
        # `up` bears the time at which its scrape began; counters are read after that.
        scraped = f"count(timestamp(up) > {begin} and up == 1) == {self._targets}"

        def seen() -> float | None:
            now = time.time()
            return now if self.query(scraped, now) else None

        return eventually(seen, START_SECONDS, "a scrape of every target")

    def _all_up(self, moment: float) -> bool:
        return bool(self.query(f"count(up == 1) == {self._targets}", moment))

    def query(self, expression: str, at: float) -> list[dict]:
        return self._get("query", query=expression, time=at)["result"]

    def query_range(self, expression: str, begin: float, end: float, step: float) -> list[dict]:
        return self._get("query_range", query=expression, start=begin, end=end, step=step)["result"]

    def _answers(self) -> bool:
        assert self._process.exit_code is None, self._process.log_text()
        return answers(self._url, "/-/ready")

    def _get(self, path: str, **parameters) -> dict:
        with urllib.request.urlopen(f"{self._url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}", timeout=30) as answer:
            found = json.load(answer)
        assert found["status"] == "success", found
        return found["data"]


def job(name: str, target: str, **more) -> dict:
    """A scrape job with one target."""
    return {"job_name": name, "static_configs": [{"targets": [target]}], **more}

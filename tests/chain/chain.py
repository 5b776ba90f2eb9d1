"""The whole chain, as a user gets it: `scripts/run.sh` on a free port, in front of the offline stand-in."""

import json
import os
import re
import signal
import socket
import subprocess
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from harness import secrets

ROOT = Path(__file__).resolve().parents[2]
RUN = ROOT / "scripts/run.sh"
# Builds that are up to date are checked within this time; a cold machine compiles them first.
START_SECONDS = 1500


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def environment(**changes: str) -> dict[str, str]:
    """This process's environment without what would change where the chain goes."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OPENAI_")}
    return kept | changes


@dataclass
class Chain:
    """A running chain: its addresses, and what the upstream saw."""

    process: subprocess.Popen
    url: str
    upstream: str
    output: str
    run_dir: Path

    @property
    def openai_url(self) -> str:
        return f"{self.url}/v1"

    def upstream_stats(self) -> dict:
        return self._upstream("GET", "/stats")

    def forget_upstream_stats(self) -> None:
        self._note_keys()
        self._upstream("DELETE", "/stats")

    def keep_last_words(self) -> None:
        """What the programs say before they end, for the search for keys."""
        self._note_keys()
        for address in re.findall(r"^backend: +(\S+)|-X PURGE (http://[^/]+)/", self.output, re.M):
            with urllib.request.urlopen("".join(address) + "/metrics", timeout=10) as page:
                secrets.told(f"the metrics of {page.url} in {self.run_dir}", page.read())

    def _note_keys(self) -> None:
        for digest in self.upstream_stats()["keys"]:
            secrets.used(digest)

    def misbehave(self, **faults) -> None:
        self._upstream("PUT", "/faults", faults)

    def behave(self) -> None:
        self._upstream("DELETE", "/faults")

    def _upstream(self, method: str, path: str, body: dict | None = None) -> dict:
        request = urllib.request.Request(
            self.upstream.removesuffix("/v1") + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            text = answer.read()
        return json.loads(text) if text else {}


def start_chain(run_dir: Path, port: int | None = None) -> Chain:
    """Runs `scripts/run.sh` until it says that it is ready."""
    port = port or free_port()
    run_dir.mkdir(parents=True, exist_ok=True)
    log = run_dir / "run.sh.log"
    with log.open("w") as out:
        process = subprocess.Popen(
            [RUN],
            env=environment(PORT=str(port), RUN_DIR=str(run_dir), **secrets.talkative),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            # Whoever runs these tests in the background ignores Ctrl-C, and so would all that they start.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
    deadline = time.monotonic() + START_SECONDS
    while "Ctrl-C ends it" not in log.read_text():
        if process.poll() is not None or time.monotonic() > deadline:
            process.terminate()
            raise AssertionError(f"scripts/run.sh did not get ready:\n{log.read_text()}")
        time.sleep(0.05)
    output = log.read_text()
    url = re.search(r"^ready: (\S+)$", output, re.M).group(1)
    upstream = re.search(r"^upstream: (\S+)$", output, re.M).group(1)
    return Chain(process, url, upstream, output, run_dir)


def stop_chain(chain: Chain, with_signal: int = signal.SIGTERM) -> int:
    try:
        chain.keep_last_words()
    finally:
        chain.process.send_signal(with_signal)
        code = chain.process.wait(timeout=60)
    # The next chain in this folder writes its own.
    (chain.run_dir / "logs").rename(chain.run_dir / f"logs-{chain.process.pid}")
    return code

"""The whole chain, as a user gets it: `scripts/run.sh` on a free port, in front of the offline stand-in."""

import os
import re
import signal
from dataclasses import dataclass
from pathlib import Path

from . import programs, secrets
from .client import Answer, send
from .paths import ROOT
from .ports import free_port
from .processes import Process
from .waiting import eventually

RUN = ROOT / "scripts/run.sh"
# Builds that are up to date are checked within this time; a cold machine compiles them first.
START_SECONDS = 1500
# Longer than each of its parts is given.
STOP_SECONDS = 60


def environment(**changes: str) -> dict[str, str]:
    """This process's environment without what would change where the chain goes."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OPENAI_")}
    return kept | changes


@dataclass
class Chain:
    """A running chain: its addresses, and what the upstream saw."""

    process: Process
    url: str
    upstream: str
    output: str
    run_dir: Path

    @property
    def openai_url(self) -> str:
        return f"{self.url}/v1"

    @property
    def standin(self) -> str:
        return self.upstream.removesuffix("/v1")

    def upstream_stats(self) -> dict:
        return self._upstream("GET", "/stats").json

    def forget_upstream_stats(self) -> None:
        programs.note_keys(self.standin)
        self._upstream("DELETE", "/stats")

    def keep_last_words(self) -> None:
        """What the programs say before they end, for the search for keys."""
        programs.note_keys(self.standin)
        for address in re.findall(r"^backend: +(\S+)|-X PURGE (http://[^/]+)/", self.output, re.M):
            url = "".join(address)
            secrets.told(f"the metrics of {url} in {self.run_dir}", send(url, "GET", "/metrics").body)

    def misbehave(self, **faults) -> None:
        self._upstream("PUT", "/faults", faults)

    def behave(self) -> None:
        self._upstream("DELETE", "/faults")

    def _upstream(self, method: str, path: str, body: dict | None = None) -> Answer:
        answer = send(self.standin, method, path, body, {"Content-Type": "application/json"})
        assert answer.status < 300, answer.body
        return answer


def start_chain(run_dir: Path, **variables: str) -> Chain:
    """Runs `scripts/run.sh` until it says that it is ready, with the programs as they ship."""
    run_dir.mkdir(parents=True, exist_ok=True)
    log = run_dir / "run.sh.log"
    log.unlink(missing_ok=True)
    process = Process(
        [RUN],
        log,
        env=environment(
            PORT=str(free_port()), RUN_DIR=str(run_dir), BUILD_PROFILE=programs.PROFILE, **secrets.talkative, **variables
        ),
        start_new_session=True,
        # A shell that runs these tests in the background ignores Ctrl-C, and so would all that they start.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )

    def is_ready() -> bool:
        assert process.exit_code is None, process.log_text()
        return "Ctrl-C ends it" in process.log_text()

    eventually(is_ready, START_SECONDS, "scripts/run.sh ready")
    output = process.log_text()
    url = re.search(r"^ready: (\S+)$", output, re.M).group(1)
    upstream = re.search(r"^upstream: (\S+)$", output, re.M).group(1)
    return Chain(process, url, upstream, output, run_dir)


def stop_chain(chain: Chain, with_signal: int = signal.SIGTERM) -> int:
    try:
        chain.keep_last_words()
    finally:
        code = chain.process.terminate(STOP_SECONDS, with_signal)
    # The next chain in this folder writes its own.
    (chain.run_dir / "logs").rename(chain.run_dir / f"logs-{chain.process.pid}")
    return code

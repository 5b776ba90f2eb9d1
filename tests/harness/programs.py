"""The programs of backend/, and how to learn where one of them listens."""

import os
import re
from pathlib import Path

from . import secrets
from .client import send
from .paths import ROOT
from .processes import Process
from .waiting import eventually

# Of cargo: scripts/test.sh says what they are built with.
PROFILE = os.environ.get("BUILD_PROFILE", "laptop")
_BUILT = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / PROFILE
GATEWAY = _BUILT / "embedding-gateway"
BROADCASTER = _BUILT / "endpoint-broadcaster"
STANDIN = _BUILT / "openai-standin"
# Two cores that others use too.
START_SECONDS = 30


def url_of(process: Process) -> str:
    """Where a gateway or broadcaster listens, as soon as its log says so, as text or JSON."""

    def address() -> str | None:
        assert process.exit_code is None, process.log_text()
        found = re.search(r'(?:: ready address=|"message":"ready","address":")([^" ]+)', process.log_text())
        return found and found[1]

    return "http://" + eventually(address, START_SECONDS, f"the address in {process.log.name}")


def note_keys(standin: str) -> None:
    """Which keys the stand-in has been asked with, for the search for keys."""
    for digest in send(standin, "GET", "/stats").json["keys"]:
        secrets.used(digest)


def keep_metrics(process: Process, url: str) -> None:
    """The last page of a program that is about to end, for the search for keys."""
    if process.exit_code is None:
        secrets.told(f"the metrics of {process.log}", send(url, "GET", "/metrics").body)

"""README.md's first commands print what it says."""

import re
import subprocess

from harness import console
from harness.paths import ROOT
from harness.secrets import secret

README = (ROOT / "README.md").read_text()
COMMAND_SECONDS = 60


def shown() -> tuple[str, str, str]:
    """The request, what it prints the first time, and what it prints the second time."""
    blocks = console.blocks(README.partition("## Two commands\n")[2].partition("\n## ")[0])
    _, first, second = blocks
    ((command, printed),) = console.commands(f"```console\n{first}```")
    return command, printed, second


def printed_by(command: str) -> str:
    done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=COMMAND_SECONDS)
    # Lines of HTTP; and a second may have passed.
    return re.sub(r"ttl=3[56]\d\d\b", "ttl=3599", done.stdout.replace("\r\n", "\n"))


def test_the_same_request_twice_prints_what_the_readme_says(chain):
    command, first, second = shown()
    here = command.replace("http://127.0.0.1:8080", chain.url).replace("demo", secret("readme"))
    assert "127.0.0.1:8080" in command
    assert printed_by(here) == first
    assert printed_by(here) == second


def test_what_starts_the_chain_prints_what_the_readme_says(chain):
    (command, printed), *_ = console.commands(README)
    assert command.startswith("scripts/run.sh ")
    assert printed.replace("http://127.0.0.1:8080", chain.url) in chain.output
    assert f"page:     {chain.url}/\n" in chain.output

"""The first commands of backend/README.md can be pasted as they stand, also where the shell exports a key."""

import os
import re
import subprocess

from harness import programs
from harness.paths import ROOT
from harness.ports import moved, replacements
from harness.secrets import secret

README = (ROOT / "backend/README.md").read_text()
BUILD = "cargo build --release -p embedding-gateway\n"
SECONDS = 90


def pasted(block: str, folder) -> str:
    """The block, but for the build, the port and the folder of the vectors; then its last command again, and the end."""
    assert block.startswith(BUILD)
    block = moved(block.removeprefix(BUILD), replacements(8000))
    block = block.replace("/var/tmp/vectors", str(folder)).replace("target/release/embedding-gateway", str(programs.GATEWAY))
    again = re.search(r"^curl -sSi (?:.*\\\n)*.*\n\Z", block, re.MULTILINE)[0]
    return f"{block}{again}kill $gateway\nwait $gateway\n"


def test_the_first_block_can_be_pasted(standin, tmp_path):
    block = re.search(r"^```sh\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)[1]
    given = {"PATH": os.environ["PATH"], "OPENAI_API_KEY": secret("readme"), "OPENAI_BASE_URL": f"{standin.url}/v1"}
    done = subprocess.run(
        ["bash", "-c", pasted(block, tmp_path / "vectors")], cwd=ROOT, env=given, capture_output=True, text=True, timeout=SECONDS
    )
    _, first, again = done.stdout.split("HTTP/1.1 200 OK")
    assert "cache-status: embedding-gateway; fwd=miss; stored" in first
    promised = re.findall(r"`([^`]+)`", README.partition("Repeat the last command: ")[2].partition(".\n")[0])
    assert len(promised) == 2
    assert all(f"{header}\n" in again for header in promised), again
    assert any((tmp_path / "vectors").rglob("*"))

"""The documents of this repository, read as Markdown."""

import re
import subprocess
from pathlib import Path

from harness.paths import ROOT

_CODE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")


def every() -> list[Path]:
    """Every document that git knows, or would not ignore."""
    command = ["git", "-C", ROOT, "ls-files", "--cached", "--others", "--exclude-standard", "*.md"]
    return [ROOT / name for name in subprocess.check_output(command, text=True).splitlines()]


def prose(document: Path) -> str:
    """What is not a block of code."""
    return _CODE.sub("", document.read_text())


def links(document: Path) -> list[str]:
    """Where it leads within the repository."""
    return [target for _, target in _LINK.findall(prose(document)) if not re.match(r"[a-z]+:", target)]


def _anchor(heading: str) -> str:
    """How GitHub calls a heading in an address."""
    text = _LINK.sub(r"\1", heading).lower()
    return re.sub(r"[^\w\- ]", "", text).replace(" ", "-")


def anchors(document: Path) -> set[str]:
    return {_anchor(heading) for heading in re.findall(r"^#+ (.*)$", prose(document), re.MULTILINE)}


def section(document: Path, heading: str) -> str:
    """What stands below a heading, up to the next one of its level."""
    level = heading.partition(" ")[0]
    found = re.search(rf"^{re.escape(heading)}\n(.*?)(?=^{level} |\Z)", document.read_text(), re.MULTILINE | re.DOTALL)
    assert found, f"{document.relative_to(ROOT)} has no section {heading!r}"
    return found[1]

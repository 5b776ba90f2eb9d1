"""Prose names its actors, and its lines fit beside each other."""

import re
import subprocess
from pathlib import Path

import pytest
from documents import every
from harness.paths import ROOT

LONGEST_LINE = 120
# Each hides who acts: the client, the upstream, Varnish, the kubelet, the operator.
NO_ACTORS = re.compile(r"\b([Ww]ho(m)?ever|[Ww]hom|[Ss]omebody|[Nn]obody|[Aa]nybody|[Ee]verybody|[Ss]omeone|[Ee]veryone|of ours)\b")
# Written by a program, a paragraph to a line.
_GENERATED = {"docs/benchmarks.md"}
# Sources whose comments and names are held to the same words; backend/tests/rooms.rs holds the backend's.
_SOURCES = ["filter", "tests", "kustomize", "envoy", "scripts", ".github"]
# These name the words themselves, or are other projects' texts.
_NOT_OURS = ("tests/docs/test_prose.py", "package-lock.json")
# A line that Markdown cannot break, or that Markdown does not fill: a row of a table, an image, a link on its own.
_UNBREAKABLE = re.compile(r"^\s*(\||!\[|[-*]? ?\[?\S+$)")


def title(document: Path) -> str:
    return str(document.relative_to(ROOT))


HELD = every()


def lines(document: Path) -> list[tuple[int, str]]:
    """Its lines outside blocks of code, with their numbers."""
    numbered, code = [], False
    for number, line in enumerate(document.read_text().splitlines(), 1):
        if line.lstrip().startswith("```"):
            code = not code
        elif not code:
            numbered.append((number, line))
    return numbered


@pytest.mark.parametrize("document", [path for path in HELD if title(path) not in _GENERATED], ids=title)
def test_a_line_of_prose_is_not_too_long(document):
    long = [f"{title(document)}:{n}" for n, line in lines(document) if len(line) > LONGEST_LINE and not _UNBREAKABLE.match(line)]
    assert long == []


@pytest.mark.parametrize("document", HELD, ids=title)
def test_prose_names_who_acts(document):
    found = [f"{title(document)}:{n}: {word[0]}" for n, line in lines(document) for word in NO_ACTORS.finditer(line)]
    assert found == []


def test_the_prose_of_sources_names_who_acts():
    command = ["git", "-C", ROOT, "grep", "-n", "-I", "-E", NO_ACTORS.pattern, "--", *_SOURCES]
    found = subprocess.run(command, capture_output=True, text=True)
    assert found.returncode in (0, 1), found.stderr
    lines = found.stdout.splitlines()
    assert [line for line in lines if not line.split(":")[0].endswith(_NOT_OURS)] == []


def test_every_kind_of_document_is_held():
    held = {title(document) for document in HELD}
    assert {"README.md", "backend/README.md", "docs/configuration.md", "docs/decisions/README.md"} <= held
    assert {"kustomize/components/varnish/README.md", "tests/openai-standin/README.md"} <= held

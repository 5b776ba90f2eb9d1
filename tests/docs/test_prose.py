"""Prose names its actors, and its lines fit beside each other."""

import re
from pathlib import Path

import pytest
from documents import every
from harness.paths import ROOT

LONGEST_LINE = 120
# Each hides who acts: the client, the upstream, Varnish, the kubelet, the operator.
NO_ACTORS = re.compile(r"\b(who(?:m)?ever|whom|somebody|nobody|anybody|everybody|of ours)\b", re.IGNORECASE)
# Written by a program, a paragraph to a line.
_GENERATED = {"docs/benchmarks.md"}
# Those that are still to be rewritten; none may join them.
_NOT_YET = {
    "kustomize/components/varnish/README.md",
    "tests/openai-standin/README.md",
}
# A line that Markdown cannot break, or that Markdown does not fill: a row of a table, an image, a link on its own.
_UNBREAKABLE = re.compile(r"^\s*(\||!\[|[-*]? ?\[?\S+$)")


def title(document: Path) -> str:
    return str(document.relative_to(ROOT))


HELD = [document for document in every() if title(document) not in _NOT_YET]


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


def test_a_document_that_complies_is_held():
    held = {title(document) for document in HELD}
    assert _NOT_YET <= {title(document) for document in every()}
    assert {"README.md", "backend/README.md", "docs/configuration.md", "docs/decisions/README.md"} <= held

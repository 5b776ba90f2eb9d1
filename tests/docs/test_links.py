"""Every link leads somewhere, and every path that is named is there."""

import re
from pathlib import Path

import pytest
from documents import anchors, every, links, prose
from harness.paths import ROOT

# What a path in backticks begins with, if it is one of this repository, counted from its root.
_PLACES = ("backend", "docs", "envoy", "filter", "kustomize", "scripts", "tests")
# Its paths are those of other projects.
_ABROAD = ROOT / "backend/tests/gateway/answers/README.md"


def title(document: Path) -> str:
    return str(document.relative_to(ROOT))


def test_there_is_something_to_check():
    assert {title(document) for document in every()} >= {"README.md", "CHANGELOG.md", "backend/README.md", "docs/observability.md"}
    assert sum(len(links(document)) for document in every()) > 20


@pytest.mark.parametrize("document", every(), ids=title)
def test_every_link_leads_somewhere(document):
    dead = []
    for link in links(document):
        path, _, anchor = link.partition("#")
        target = document.parent / path if path else document
        if not target.exists() or (anchor and anchor not in anchors(target)):
            dead.append(link)
    assert dead == []


@pytest.mark.parametrize("document", sorted(set(every()) - {_ABROAD}), ids=title)
def test_every_path_that_is_named_is_there(document):
    """From the root, or from where the document stands."""
    named = re.findall(rf"`((?:{'|'.join(_PLACES)})/[\w./*-]+)`", prose(document))
    from_here = [ROOT, document.parent]
    assert [path for path in named if not any(list(folder.glob(path.rstrip("/"))) for folder in from_here)] == []

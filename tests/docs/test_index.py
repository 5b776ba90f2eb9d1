"""Every page is found: README.md leads to those of docs/, and docs/decisions/README.md to every decision, by its title."""

import re

from documents import links
from harness.paths import ROOT

DOCS = ROOT / "docs"
DECISIONS = DOCS / "decisions"


def test_the_readme_leads_to_every_page():
    assert {f"docs/{page.name}" for page in DOCS.glob("*.md")} <= set(links(ROOT / "README.md"))


def test_decisions_are_listed_by_number_and_title():
    pages = sorted(DECISIONS.glob("[0-9]*.md"))
    titles = [page.read_text().partition("\n")[0] for page in pages]
    assert [page.name[:3] for page in pages] == [f"{number:03}" for number in range(1, len(pages) + 1)]
    rows = re.findall(r"^\| \[(\d+)\]\(([\w.-]+)\) \| (.+) \|$", (DECISIONS / "README.md").read_text(), re.MULTILINE)
    assert [f"# {number}: {title}" for number, _, title in rows] == titles
    assert [file for _, file, _ in rows] == [page.name for page in pages]

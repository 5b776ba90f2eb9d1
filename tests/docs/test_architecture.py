"""The map shows the repository as it is: every path exists, and no folder is missing from it."""

import re

import pytest
from documents import prose, section
from harness.paths import ROOT

MAP = ROOT / "docs/architecture.md"
SOURCES = ROOT / "backend/src"
WALKS = ["a miss", "a hit in Varnish", "a purge", "a new variable", "a stored object"]

# A file with its ending, or a folder with its slash; neither is a path of a request or of a store.
_PATH = re.compile(r"`([\w.-]+(?:/[\w.-]+)*/|[\w./-]+\.(?:rs|vcl|py|sh|md|yaml))`")


def named(text: str) -> list[str]:
    return _PATH.findall(text)


def walk(number: int) -> str:
    return section(MAP, f"## Walk {number}: {WALKS[number - 1]}")


def is_there(path: str) -> bool:
    return any((folder / path).exists() for folder in (ROOT, SOURCES))


def test_every_path_of_the_map_exists():
    assert len(named(prose(MAP))) > 40
    # purge.vcl is told to stand beside default.vcl.
    beside = ROOT / "kustomize/components/varnish"
    assert [path for path in named(prose(MAP)) if not is_there(path) and not (beside / path).exists()] == []


@pytest.mark.parametrize("number", range(1, len(WALKS) + 1))
def test_a_walk_names_its_files_step_by_step(number):
    steps = re.findall(r"^(\d+)\. ", walk(number), re.MULTILINE)
    assert steps == [str(step) for step in range(1, len(steps) + 1)]
    assert any(path.startswith("kustomize/") or path.endswith(".rs") for path in named(walk(number)))


def rows() -> list[set[str]]:
    """From the top down, the folders of each row."""
    numbered = re.findall(r"^\| (\d) \| ([^|]+) \|", section(MAP, "## Folders of the backend"), re.MULTILINE)
    assert [int(number) for number, _ in numbered] == list(range(len(numbered), 0, -1))
    return [{folder.rstrip("/") for folder in named(cell)} for _, cell in numbered]


def test_the_rows_hold_every_folder_of_the_backend():
    modules = {path.stem for path in SOURCES.iterdir()} - {"lib"}
    assert sorted(folder for row in rows() for folder in row) == sorted(modules)


def test_the_rows_are_those_that_imports_obey():
    rule = (ROOT / "backend/tests/rooms.rs").read_text().partition("const ROWS")[2].partition("= [")[2].partition("];")[0]
    held = [set(re.findall(r'"(\w+)"', row)) for row in re.findall(r"^ +&\[(.*)\],$", rule, re.MULTILINE)]
    assert rows() == [{"bin"}, *held]

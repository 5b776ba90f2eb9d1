"""What the scripts say of themselves, and what README.md says of them."""

import re
import subprocess

import pytest
from harness.paths import ROOT

README = (ROOT / "README.md").read_text()
SCRIPTS = sorted((ROOT / "scripts").glob("*.sh"))


def source(script: str) -> str:
    return (ROOT / "scripts" / script).read_text()


def described(script: str) -> set[str]:
    """The parts that the header describes, one to a line; what is set by a variable is in capitals."""
    header = source(script).partition("\nset -")[0]
    return set(re.findall(r"^#   ([a-z]+)  +\S", header, re.MULTILINE))


def listed(script: str, *arrays: str) -> list[str]:
    """The names in arrays of a script, as they stand."""
    return [name for array in arrays for name in re.search(rf"^readonly {array}=\((.*)\)$", source(script), re.MULTILINE)[1].split()]


def functions(script: str, prefix: str) -> set[str]:
    return set(re.findall(rf"^{prefix}_([a-z]+)\(\)", source(script), re.MULTILINE))


def test_the_readme_lists_the_parts_of_the_tests():
    (parts,) = re.findall(r"^\| `scripts/test\.sh PART\.\.\.` \| [^`]*`([a-z ]+)` \|$", README, re.MULTILINE)
    assert set(parts.split()) == described("test.sh") == functions("test.sh", "part")
    assert sorted(parts.split()) == sorted(listed("test.sh", "ALONE", "BESIDE"))


def test_every_folder_of_tests_is_run():
    folders = {path.parent.name for path in (ROOT / "tests").glob("*/test_*.py")}
    assert folders == set(re.findall(r"^ .*?\btests/([a-z]+)", source("test.sh"), re.MULTILINE))


def test_the_parts_of_the_measurements_are_described():
    assert described("bench.sh") == functions("bench.sh", "part") == set(listed("bench.sh", "PARTS"))


def test_each_part_of_the_measurements_has_its_place_in_the_page():
    page = (ROOT / "docs/benchmarks.md").read_text()
    assert set(re.findall(r"^<!-- begin (\w+) -->$", page, re.MULTILINE)) == set(listed("bench.sh", "PARTS"))


def test_the_parts_of_the_setup_are_described():
    (known,) = re.findall(r"^      ([a-z |]+)\) \"setup_\$part\"", source("setup.sh"), re.MULTILINE)
    assert described("setup.sh") == set(known.split(" | ")) == functions("setup.sh", "setup")


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_a_script_shows_its_header_when_it_is_asked_for_help(script):
    done = subprocess.run([script, "--help"], capture_output=True, text=True, timeout=30, check=True)
    assert re.search(rf"^usage: .*scripts/{script.name}", done.stdout, re.MULTILINE)

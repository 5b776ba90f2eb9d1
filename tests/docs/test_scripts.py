"""What the scripts say of themselves, and what README.md says of them."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from harness.paths import ENVOY_VERSION, ENVOY_VERSIONS_WITHOUT_WASM, OTHER_ENVOY_VERSIONS, ROOT
from test_prose import NO_ACTORS

README = (ROOT / "README.md").read_text()
SCRIPTS = sorted((ROOT / "scripts").glob("*.sh"))


def source(script: str) -> str:
    """A script, and what it takes from the folder of its name."""
    path = ROOT / "scripts" / script
    return "".join(file.read_text() for file in (path, *sorted(path.with_suffix("").glob("*.sh"))))


def described(script: str) -> set[str]:
    """The parts that the header describes, one to a line; what is set by a variable is in capitals."""
    header = source(script).partition("\nset -")[0]
    return set(re.findall(r"^#   ([a-z]+)  +\S", header, re.MULTILINE))


def listed(script: str, *arrays: str) -> list[str]:
    """The names in arrays of a script, as they stand."""
    return [name for array in arrays for name in re.search(rf"^readonly {array}=\((.*)\)$", source(script), re.MULTILINE)[1].split()]


def functions(script: str, prefix: str) -> set[str]:
    return set(re.findall(rf"^{prefix}_([a-z]+)\(\)", source(script), re.MULTILINE))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_script_refuses_what_it_does_not_know_before_it_does_anything(script):
    refused = subprocess.run([script, "--no-such-thing"], capture_output=True, text=True, timeout=60)
    assert refused.returncode in (1, 2)
    assert refused.stdout == "" and refused.stderr.count("\n") == 1, refused
    assert script.stem in refused.stderr


def test_the_readme_lists_the_parts_of_the_tests():
    (parts,) = re.findall(r"^\| `scripts/test\.sh PART\.\.\.` \| [^`]*`([a-z ]+)` \|$", README, re.MULTILINE)
    assert set(parts.split()) == described("test.sh") == functions("test.sh", "part")
    assert sorted(parts.split()) == sorted(listed("test.sh", "PARTS"))


def test_every_folder_of_tests_is_run():
    folders = {path.parent.name for path in (ROOT / "tests").glob("*/test_*.py")}
    assert folders == set(re.findall(r"^ .*?\btests/([a-z]+)", source("test.sh"), re.MULTILINE))


def test_the_parts_of_the_measurements_are_described():
    assert described("bench.sh") == functions("bench.sh", "part") == set(listed("bench.sh", "PARTS"))


def test_each_part_of_the_measurements_has_its_place_in_the_page():
    page = (ROOT / "docs/benchmarks.md").read_text()
    assert set(re.findall(r"^<!-- begin (\w+) -->$", page, re.MULTILINE)) == set(listed("bench.sh", "PARTS"))


def test_the_parts_of_the_setup_are_described():
    assert described("setup.sh") == set(listed("setup.sh", "PARTS")) == functions("setup.sh", "setup")


def test_whatever_the_setup_installs_can_be_found_missing():
    assert functions("setup.sh", "setup") <= functions("setup.sh", "missing")


def setup(root: Path, *arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run([root / "scripts/setup.sh", *arguments], capture_output=True, text=True, timeout=120)


@pytest.fixture
def bare_checkout(tmp_path) -> Path:
    """The scripts and what they pin, without tools."""
    root = tmp_path / "root"
    shutil.copytree(ROOT / "scripts", root / "scripts")
    pins = ("requirements.txt", "chain/package-lock.json", "chain/python/requirements.txt", "chain/go/go.mod", "chain/java/pom.xml")
    for name in (*(f"tests/{pin}" for pin in pins), "tests/page/package-lock.json", "rust-toolchain.toml"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, root / name)
    return root


def test_a_check_names_what_is_missing_and_installs_nothing(bare_checkout):
    before = sorted(bare_checkout.rglob("*"))
    done = setup(bare_checkout, "--check", "envoy", "envoys", "python", "lint")
    assert done.returncode == 1, done.stderr
    missing = [line for line in done.stdout.splitlines() if "shellcheck" not in line]
    assert missing == [
        f"missing: envoy: Envoy {ENVOY_VERSION}",
        *(f"missing: envoys: Envoy {version}" for version in [*OTHER_ENVOY_VERSIONS, *ENVOY_VERSIONS_WITHOUT_WASM]),
        "missing: python: the packages of tests/requirements.txt",
        f"missing: lint: actionlint {pinned('ACTIONLINT_VERSION')}",
        f"missing: lint: cargo-deny {pinned('CARGO_DENY_VERSION')}",
    ]
    assert sorted(bare_checkout.rglob("*")) == before


def test_a_check_without_parts_checks_all_of_them(bare_checkout):
    done = setup(bare_checkout, "--check")
    assert done.returncode == 1
    assert {"envoy", "envoys", "python", "node", "browser", "lint"} <= set(re.findall(r"^missing: (\w+): ", done.stdout, re.M))


def test_a_check_of_what_is_there_says_nothing():
    done = setup(ROOT, "--check", "python")
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("version", ["0.0.1", "1.7.1", "1.7.120"])
def test_a_tool_of_another_version_is_missing(bare_checkout, version):
    tool = bare_checkout / ".tools/bin/actionlint"
    tool.parent.mkdir(parents=True)
    tool.write_text(f"#!/bin/sh\necho v{version}\n")
    tool.chmod(0o755)
    assert "missing: lint: actionlint" in setup(bare_checkout, "--check", "lint").stdout
    tool.write_text(f"#!/bin/sh\necho v{pinned('ACTIONLINT_VERSION')}\n")
    assert "missing: lint: actionlint" not in setup(bare_checkout, "--check", "lint").stdout


@pytest.mark.parametrize("arguments", [["nothing"], ["--check", "nothing"], ["rust", "nothing"]])
def test_a_part_that_is_not_there_is_a_clear_error(bare_checkout, arguments):
    done = setup(bare_checkout, *arguments)
    assert done.returncode == 1
    assert "no part is called 'nothing'; there are: rust " in done.stderr


def pinned(name: str) -> str:
    return re.search(rf"^readonly {name}=(.*)$", source("setup.sh"), re.MULTILINE)[1]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_a_script_shows_its_header_when_it_is_asked_for_help(script):
    done = subprocess.run([script, "--help"], capture_output=True, text=True, timeout=120, check=True)
    assert re.search(rf"^usage: .*scripts/{script.name}", done.stdout, re.MULTILINE)


def test_the_scripts_name_who_acts():
    files = [path for path in (ROOT / "scripts").rglob("*") if path.suffix in {".sh", ".py"}]
    vague = [f"{path.relative_to(ROOT)}: {word}" for path in files for word in NO_ACTORS.findall(path.read_text())]
    assert vague == []

"""The workflows of .github: what runs there is what scripts/test.sh has, and nothing that can change under its name."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml
from harness.paths import ROOT
from test_scripts import listed

WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yaml"))
# It needs a control plane that no public runner has.
ELSEWHERE = {"mesh"}

# The ecosystem of Dependabot that reads a file of this name.
MANIFESTS = {
    "Cargo.lock": "cargo",
    "Containerfile": "docker",
    "go.mod": "gomod",
    "litellm.txt": "pip",
    "package.json": "npm",
    "pom.xml": "maven",
    "requirements.txt": "pip",
    "rust-toolchain.toml": "rust-toolchain",
}


def workflow(name: str) -> dict:
    return yaml.safe_load((ROOT / ".github/workflows" / name).read_text())


def name_of(path: Path) -> str:
    return path.name


def test_every_part_of_the_tests_runs_once():
    rows = workflow("test.yaml")["jobs"]["parts"]["strategy"]["matrix"]["include"]
    parts = [part for row in rows for part in row["parts"].split()]
    assert sorted(parts) == sorted(set(listed("test.sh", "PARTS")) - ELSEWHERE)


def test_one_job_stands_for_all_others():
    jobs = workflow("test.yaml")["jobs"]
    required = jobs.pop("required")
    needs = required["needs"]
    assert set([needs] if isinstance(needs, str) else needs) == set(jobs)
    # Without it a failure upstream skips the job, and a skipped job counts as passed.
    assert required["if"] == "always()"


@pytest.mark.parametrize("path", WORKFLOWS, ids=name_of)
def test_actions_are_pinned_by_commit_and_say_their_version(path):
    used = re.findall(r"^ *(?:- )?uses: (.*)$", path.read_text(), re.MULTILINE)
    loose = [use for use in used if not re.fullmatch(r"\S+@[0-9a-f]{40} # v\d+\.\d+\.\d+", use)]
    assert [use for use in loose if not use.startswith("./")] == []


def test_one_action_has_one_commit_everywhere():
    used = re.findall(r"uses: ([^@\s]+)@(\w+)", "".join(path.read_text() for path in WORKFLOWS))
    assert len(dict(used)) == len(set(used))


@pytest.mark.parametrize("path", WORKFLOWS, ids=name_of)
def test_what_a_workflow_may_do_is_little_unless_a_job_says_more(path):
    assert workflow(path.name)["permissions"] == {"contents": "read"}


def test_a_release_waits_for_the_tests():
    jobs = workflow("release.yaml")["jobs"]
    assert jobs["test"]["uses"] == "./.github/workflows/test.yaml"
    assert jobs["test"]["with"] == {"profile": "release"}, "what ships is what is tested"
    assert "test" in jobs["image"]["needs"] and "image" in jobs["publish"]["needs"]


def test_dependabot_reads_every_manifest():
    updates = yaml.safe_load((ROOT / ".github/dependabot.yml").read_text())["updates"]
    watched = {
        (update["package-ecosystem"], folder)
        for update in updates
        for folder in update.get("directories", [update.get("directory")])
    }
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    known = [Path(path) for path in tracked if Path(path).name in MANIFESTS]
    # An image of nothing but this repository's programs has nothing to follow.
    read = [path for path in known if path.name != "Containerfile" or re.search("^FROM .+:", (ROOT / path).read_text(), re.M)]
    manifests = {(MANIFESTS[path.name], str("/" / path.parent)) for path in read}
    assert watched == manifests | {("github-actions", "/")}

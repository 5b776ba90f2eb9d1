"""The workflows of .github: what runs there is what scripts/test.sh has, and nothing that can change under its name."""

import re
from pathlib import Path

import pytest
import yaml
from harness.paths import ROOT
from test_scripts import listed

WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yaml"))
# It needs a control plane that no public runner has.
ELSEWHERE = {"mesh"}


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

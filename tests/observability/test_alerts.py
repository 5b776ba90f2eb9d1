"""The alert rules that ship: well-formed, each with a section in the runbook, and firing when they should and only then."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml
from harness.paths import ROOT, TOOLS

RULES = ROOT / "kustomize/components/monitoring/prometheus_rule.yaml"
CASES = Path(__file__).with_name("alerts.yaml")
PROMTOOL = TOOLS / "bin/promtool"


def alerts() -> list[dict]:
    groups = yaml.safe_load(RULES.read_text())["spec"]["groups"]
    return [rule for group in groups for rule in group["rules"]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the rules as Prometheus takes them, and the cases beside them."""
    spec = yaml.safe_load(RULES.read_text())["spec"]
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(spec))
    (tmp_path / "alerts.yaml").write_text(CASES.read_text())
    return tmp_path


def promtool(folder: Path, *arguments: str) -> None:
    run = subprocess.run([PROMTOOL, *arguments], cwd=folder, capture_output=True, text=True, timeout=500)
    assert run.returncode == 0, run.stdout + run.stderr


def test_promtool_finds_nothing_wrong_with_the_rules(folder: Path):
    promtool(folder, "check", "rules", "--lint-fatal", "rules.yaml")


def test_each_alert_fires_when_it_should_and_only_then(folder: Path):
    promtool(folder, "test", "rules", "alerts.yaml")


def test_each_alert_has_a_case_that_fires_and_one_that_does_not():
    fires: dict[str, set[bool]] = {}
    for case in yaml.safe_load(CASES.read_text())["tests"]:
        for check in case["alert_rule_test"]:
            fires.setdefault(check["alertname"], set()).add(bool(check.get("exp_alerts")))
    assert fires == {rule["alert"]: {True, False} for rule in alerts()}


def test_each_alert_points_at_its_section_of_the_runbook():
    text = (ROOT / "docs/observability.md").read_text()
    headings = {re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-") for heading in re.findall(r"^#+ (.*)$", text, re.M)}
    for rule in alerts():
        # Alertmanager's templates and the tools around it show a link of this name.
        address, _, anchor = rule["annotations"]["runbook_url"].partition("#")
        assert address.startswith("https://") and address.endswith("/docs/observability.md")
        assert anchor == rule["alert"].lower()
        assert anchor in headings

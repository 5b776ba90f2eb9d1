"""The configurations in envoy/ do what envoy/README.md says: its commands print what it shows, line by line."""

import re
import subprocess

import pytest
import yaml
from harness import console, http1
from harness.envoy import Envoy
from harness.paths import ROOT
from harness.ports import moved, replacements

EXAMPLES = ("pair.yaml", "single.yaml", "native.yaml")
README = (ROOT / "envoy/README.md").read_text()
SECTION = re.compile(r"^## (\S+\.yaml).*?(?=^## |\Z)", re.MULTILINE | re.DOTALL)
COMMAND_SECONDS = 20


def shown(example: str) -> list[tuple[str, str]]:
    """Every command, with what the README says that it prints: the same calls, and of native code other statistics."""
    sections = {match.group(1): console.commands(match.group(0)) for match in SECTION.finditer(README)}
    if example != "native.yaml":
        return sections["pair.yaml"]
    return [command for command in sections["pair.yaml"] if "stats" not in command[0]] + sections[example]


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_prints_what_the_readme_says(module, version, tmp_path, example):
    assert len(shown(example)) >= 4
    ports = replacements(9901, 10000, 10001)
    configuration = yaml.safe_load(moved((ROOT / "envoy" / example).read_text(), ports))
    with Envoy(configuration, tmp_path, version=version):
        for command, output in shown(example):
            ran = subprocess.run(moved(command, ports), shell=True, capture_output=True, text=True, timeout=COMMAND_SECONDS)
            assert ran.stdout == output, command


@pytest.mark.parametrize("example", EXAMPLES)
def test_a_clients_hash_does_not_pass_a_route_without_the_filter(module, version, tmp_path, example):
    ports = replacements(9901, 10000, 10001)
    configuration = yaml.safe_load(moved((ROOT / "envoy" / example).read_text(), ports))
    manager = configuration["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
    off = {"@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig", "disabled": True}
    (route,) = manager["route_config"]["virtual_hosts"][0]["routes"]
    route["typed_per_filter_config"] = {each["name"]: off for each in manager["http_filters"] if each["name"].startswith("body-hash")}
    with Envoy(configuration, tmp_path, version=version):
        for body in (None, b"hello"):
            response = http1.request(ports[10000], "POST", headers=[("x-body-hash", "mine")], body=body)
            assert (response.status, response.body) == (200, b"-\n")

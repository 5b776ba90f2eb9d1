"""The configurations in envoy/ do what envoy/README.md says: its commands are run and their output is compared, line by line."""

import re
import socket
import subprocess

import pytest
import yaml
from harness.envoy import Envoy
from harness.paths import ROOT

EXAMPLES = ("pair.yaml", "single.yaml")
README = (ROOT / "envoy/README.md").read_text()
# The first lines of a console block are a command after "$ " and what it prints.
SECTION = re.compile(r"^## (\S+\.yaml).*?(?=^## |\Z)", re.MULTILINE | re.DOTALL)
CONSOLE = re.compile(r"^```console\n(.*?)^```", re.MULTILINE | re.DOTALL)
PORTS = re.compile(r"\b(?:10000|10001|9901)\b")
COMMAND_SECONDS = 20


def free_ports() -> dict[str, str]:
    """A free port in place of each port that the examples name."""
    named = sorted(set(PORTS.findall("".join((ROOT / "envoy" / name).read_text() for name in EXAMPLES))))
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in named]
    ports = {name: str(each.getsockname()[1]) for name, each in zip(named, sockets, strict=True)}
    for each in sockets:
        each.close()
    return ports


def commands() -> list[tuple[str, str]]:
    """Every command of the pair's section, with what the README says that it prints. Single "prints the same"."""
    section = next(match.group(0) for match in SECTION.finditer(README) if match.group(1) == "pair.yaml")
    lines = "".join(CONSOLE.findall(section))
    return [tuple(part.split("\n", 1)) for part in re.split(r"^\$ ", lines, flags=re.MULTILINE)[1:]]


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_prints_what_the_readme_says(module, version, tmp_path, example):
    assert len(commands()) >= 4
    ports = free_ports()

    def moved(text: str) -> str:
        return PORTS.sub(lambda match: ports[match.group()], text)

    configuration = yaml.safe_load(moved((ROOT / "envoy" / example).read_text()))
    with Envoy(configuration, tmp_path, version=version):
        for command, output in commands():
            ran = subprocess.run(moved(command), shell=True, capture_output=True, text=True, timeout=COMMAND_SECONDS)
            assert ran.stdout == output, command

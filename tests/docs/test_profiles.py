"""Which of cargo's profiles a script builds with."""

import re
import tomllib

import pytest
from harness.paths import ROOT
from test_scripts import source


@pytest.mark.parametrize("script", ["run.sh", "test.sh"])
def test_the_profiles_that_a_script_takes_are_cargos(script):
    (profiles,) = re.findall(r"PROFILE =~ \^\(([a-z|]+)\)\$", source(script))
    known = tomllib.loads((ROOT / "Cargo.toml").read_text())["profile"]
    assert set(profiles.split("|")) == set(known) - {"dev"}
    assert known["laptop"]["inherits"] == "release"


def test_what_ships_and_what_is_measured_is_built_with_the_profile_release():
    for script in ("images.sh", "bench.sh"):
        builds = [line for line in source(script).splitlines() if "cargo build" in line and not line.startswith("#")]
        assert builds and all("--release" in line for line in builds), script
    assert "export BUILD_PROFILE=release\n" in source("bench.sh"), "the harness must not take what tests run"

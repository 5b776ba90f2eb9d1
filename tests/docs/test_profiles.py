"""Which of cargo's profiles a script builds with."""

import re
import tomllib

from harness.paths import ROOT
from test_scripts import source


def test_the_profiles_that_run_takes_are_cargos():
    (profiles,) = re.findall(r"PROFILE =~ \^\(([a-z|]+)\)\$", source("run.sh"))
    known = tomllib.loads((ROOT / "Cargo.toml").read_text())["profile"]
    assert set(profiles.split("|")) == set(known)
    assert known["laptop"]["inherits"] == "release"


def test_what_ships_and_what_is_measured_is_built_with_the_profile_release():
    for script in ("images.sh", "bench.sh", "test.sh"):
        builds = [line for line in source(script).splitlines() if "cargo build" in line and not line.startswith("#")]
        assert builds and all("--release" in line for line in builds), script

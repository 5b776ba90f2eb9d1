"""The soak calls a leak a leak, and noise noise."""

import sys

import pytest
from harness.paths import ROOT

sys.path.insert(0, str(ROOT / "scripts/bench"))
from soak_watch import ALLOWED, Column, grows  # noqa: E402

WARM_UP = [10.0 + number for number in range(40)]


@pytest.mark.parametrize("unit", ALLOWED)
def test_what_grows_steadily_is_a_leak_and_what_only_warms_up_is_none(unit):
    column = Column("gateway", unit)
    noisy = [50.0 + number % 3 for number in range(80)]
    assert not grows(column, WARM_UP + noisy)
    step = max(ALLOWED[unit], 4) / 20
    assert grows(column, WARM_UP + [50.0 + step * number for number in range(80)])
    assert not grows(column, [100.0 - number / 2 for number in range(120)])

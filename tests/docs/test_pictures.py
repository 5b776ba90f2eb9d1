"""Pictures of measurements can be read on a light page and on a dark one, and the same figures give the same bytes."""

import re
import sys

import pytest
from harness.paths import ROOT

sys.path.insert(0, str(ROOT / "scripts/bench"))
import plot  # noqa: E402

# GitHub's pages, which show them.
LIGHT, DARK = "#ffffff", "#0d1117"
# WCAG 2.2: 1.4.11 asks this of what must be seen in a picture, 1.4.3 of large text.
CONTRAST = 3.0
SERIES = {"pair": [(1, 0.5, 0.4, 0.6), (1000, 200, 150, 260)], "native": [(1, 0.2), (1000, 90)]}


def luminance(colour: str) -> float:
    channels = (int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5))
    linear = [channel / 12.92 if channel <= 0.04045 else ((channel + 0.055) / 1.055) ** 2.4 for channel in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("page", [LIGHT, DARK])
@pytest.mark.parametrize("colour", [plot.NEUTRAL, *plot.COLOURS])
def test_every_colour_stands_out_from_both_pages(colour, page):
    assert contrast(colour, page) >= CONTRAST


def test_a_picture_uses_these_colours_alone_and_is_the_same_each_time(tmp_path):
    for name in ("first", "second"):
        plot.lines(tmp_path / f"{name}.svg", "Title", "inputs", "µs", SERIES, log="xy")
    drawn = (tmp_path / "first.svg").read_text()
    assert drawn == (tmp_path / "second.svg").read_text()
    used = set(re.findall(r"#[0-9a-f]{6}\b", re.sub(r"<metadata>.*?</metadata>", "", drawn, flags=re.DOTALL)))
    assert used <= {plot.NEUTRAL, *plot.COLOURS}
    assert ">pair<" in drawn and ">Title<" in drawn, "text is text, and can be searched"


def test_bars_leave_out_what_was_not_measured(tmp_path):
    plot.bars(tmp_path / "bars.svg", "Title", "requests/s", ["hit", "miss"], {"gateway": [10, 5], "other": [None, 4]})
    assert (tmp_path / "bars.svg").stat().st_size > 1000


def test_a_table_becomes_a_line_for_each_of_its_columns(tmp_path):
    (tmp_path / "soak.csv").write_text("minutes,gateway MiB,Envoy MiB\n0,20,60\n1,21,\n2,21,61\n")
    assert plot.of_table(tmp_path / "soak.csv") == (
        "minutes",
        {"gateway MiB": [(0, 20), (1, 21), (2, 21)], "Envoy MiB": [(0, 60), (2, 61)]},
    )
    plot.main(str(tmp_path / "soak.csv"), str(tmp_path / "soak.svg"), "Soak")
    assert "gateway MiB" in (tmp_path / "soak.svg").read_text()

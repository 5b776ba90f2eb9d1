"""Draws docs/images: the dashboard's panels and the page, both of a chain under load. scripts/pictures.sh runs it."""

import json
import math
import os
import subprocess
import tempfile
from pathlib import Path

import dashboard
from dashboard import Panel, Watched
from harness.node import NODE
from harness.paths import ROOT
from watching import watch

IMAGES = ROOT / "docs/images"
PICTURE_SECONDS = 120


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        with watch(Path(folder), beside=_PagePictures) as watched:
            _draw(watched, Path(folder) / "panels.json")


class _PagePictures:
    """Looks at the page from the beginning of a load to its end, and takes its picture then."""

    def __init__(self, url: str) -> None:
        environment = {**os.environ, "PAGE_URL": url}
        self._process = subprocess.Popen([NODE, ROOT / "tests/page/pictures.mjs", IMAGES], env=environment, stdin=subprocess.PIPE, text=True)

    def finish(self) -> None:
        self._process.communicate("now\n", timeout=PICTURE_SECONDS)
        assert self._process.returncode == 0


def _draw(watched: Watched, file: Path) -> None:
    rows = [each for each in dashboard.definitions() if each["type"] == "row"]
    about = "A minute of load on the chain of scripts/run.sh: what a real Prometheus answers to the queries of kustomize/components/monitoring/dashboard.json."
    drawn = {"title": "embedding-gateway", "about": about, "range": watched.range, "rows": rows, "panels": [_plain(panel) for panel in watched.panels]}
    file.write_text(json.dumps(drawn))
    subprocess.run([NODE, ROOT / "tests/observability/render.mjs", file, IMAGES / "dashboard.png"], check=True, timeout=PICTURE_SECONDS)


def _plain(panel: Panel) -> dict:
    # JSON has no NaN.
    series = [(legend, [(time, value) for time, value in points if math.isfinite(value)]) for legend, points in panel.series]
    return {"definition": panel.definition, "series": [(legend, points) for legend, points in series if points]}


if __name__ == "__main__":
    main()

"""The dashboard that ships, and its queries as Grafana would send them."""

import json
import math
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from harness.paths import ROOT
from prometheus import SCRAPE_SECONDS
from stack import Stack

FILE = ROOT / "kustomize/components/monitoring/dashboard.json"
PRICE = 0.02
# Grafana takes four scrape intervals; here they are short, and a smoother line is easier to read.
RATE_SECONDS = 20 * SCRAPE_SECONDS
STEP_SECONDS = 1.0


@dataclass
class Panel:
    """One panel and what its queries brought: for each series its legend and its (time, value) pairs, and the queries that brought no number."""

    definition: dict
    series: list[tuple[str, list[tuple[float, float]]]]
    unanswered: list[str]

    @property
    def title(self) -> str:
        return self.definition["title"]

    @property
    def last(self) -> dict[str, float]:
        """The last value of each series, by its legend."""
        return {legend: points[-1][1] for legend, points in self.series}


@dataclass
class Watched:
    """What a load did, by its own books, and what the dashboard showed of it."""

    books: Counter[str]
    panels: list[Panel]
    range: tuple[float, float]


def definitions(file: Path = FILE) -> list[dict]:
    return json.loads(file.read_text())["panels"]


def read(stack: Stack) -> list[Panel]:
    """Every panel with its queries' results over the time that the stack has watched."""
    return [_asked(each, stack) for each in definitions() if each["type"] != "row"]


def _asked(definition: dict, stack: Stack) -> Panel:
    panel = Panel(definition, [], [])
    for target in definition["targets"]:
        series = _series(target, stack)
        panel.series.extend(series)
        if not any(math.isfinite(value) for _, points in series for _, value in points):
            panel.unanswered.append(target["expr"])
    return panel


def _series(target: dict, stack: Stack) -> list[tuple[str, list[tuple[float, float]]]]:
    expression = _filled_in(target["expr"], stack)
    if target.get("instant"):
        results = [(each["metric"], [each["value"]]) for each in stack.prometheus.query(expression, stack.ended)]
    else:
        ranged = stack.prometheus.query_range(expression, stack.began + RATE_SECONDS, stack.ended, STEP_SECONDS)
        results = [(each["metric"], each["values"]) for each in ranged]
    return [
        (_legend(target["legendFormat"], labels), [(float(time), float(value)) for time, value in points]) for labels, points in results
    ]


def _filled_in(expression: str, stack: Stack) -> str:
    """The dashboard's variables replaced, as Grafana does before it sends a query."""
    ranged = f"{int((stack.ended - stack.began) * 1000)}ms"
    variables = {"namespace": ".*", "price": str(PRICE), "__range": ranged, "__rate_interval": f"{int(RATE_SECONDS * 1000)}ms"}
    return re.sub(r"\$(\w+)", lambda match: variables[match.group(1)], expression)


def _legend(form: str, labels: dict[str, str]) -> str:
    return re.sub(r"{{(\w+)}}", lambda match: labels.get(match.group(1), ""), form)

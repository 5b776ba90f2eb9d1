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


# An increase over the whole range: what its counter's samples differ by, stretched by a guess of what happened before the first of them and after
# the last.
_INCREASE = re.compile(r"increase\((\w+{[^}]*})\[\$__range\]\)")

# A legend and its (time, value) pairs.
Series = tuple[str, list[tuple[float, float]]]


@dataclass
class Panel:
    """One panel, what its queries brought, and which of them brought no number."""

    definition: dict
    series: list[Series]
    # By its legend, what a figure is once its counters are compared sample with sample, without a guess.
    counted: dict[str, float]
    unanswered: list[str]

    @property
    def title(self) -> str:
        return self.definition["title"]


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


def counted(expression: str, began: float) -> str:
    """The expression with each increase over the whole range replaced by the difference of the samples at its ends."""
    return _INCREASE.sub(rf"(\1 - \1 @ {began})", expression)


def _asked(definition: dict, stack: Stack) -> Panel:
    panel = Panel(definition, [], {}, [])
    for target in definition["targets"]:
        series = _series(target, stack)
        panel.series.extend(series)
        if not any(math.isfinite(value) for _, points in series for _, value in points):
            panel.unanswered.append(target["expr"])
        if target.get("instant"):
            panel.counted |= {legend: points[-1][1] for legend, points in _instant(target, counted(target["expr"], stack.began), stack)}
    return panel


def _series(target: dict, stack: Stack) -> list[Series]:
    if target.get("instant"):
        return _instant(target, target["expr"], stack)
    ranged = stack.prometheus.query_range(_filled_in(target["expr"], stack), stack.began + RATE_SECONDS, stack.ended, STEP_SECONDS)
    return _labelled(target, [(each["metric"], each["values"]) for each in ranged])


def _instant(target: dict, expression: str, stack: Stack) -> list[Series]:
    found = stack.prometheus.query(_filled_in(expression, stack), stack.ended)
    return _labelled(target, [(each["metric"], [each["value"]]) for each in found])


def _labelled(target: dict, results: list[tuple[dict, list]]) -> list[Series]:
    return [(_legend(target["legendFormat"], labels), [(float(time), float(value)) for time, value in points]) for labels, points in results]


def _filled_in(expression: str, stack: Stack) -> str:
    """The dashboard's variables replaced, as Grafana does before it sends a query."""
    ranged = f"{int((stack.ended - stack.began) * 1000)}ms"
    variables = {"namespace": ".*", "price": str(PRICE), "__range": ranged, "__rate_interval": f"{int(RATE_SECONDS * 1000)}ms"}
    return re.sub(r"\$(\w+)", lambda match: variables[match.group(1)], expression)


def _legend(form: str, labels: dict[str, str]) -> str:
    return re.sub(r"{{(\w+)}}", lambda match: labels.get(match.group(1), ""), form)

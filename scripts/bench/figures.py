"""What the rounds of a run amount to: medians and spreads in Markdown, every round as CSV, exponents of curves."""

import csv
import math
from collections.abc import Sequence
from dataclasses import asdict, fields
from statistics import linear_regression, median

from contender import Sample
from measuring import DOCS

FIGURES = DOCS / "benchmarks"


def values(samples: Sequence[Sample], name: str) -> list[float]:
    return [getattr(sample, name) for sample in samples]


def middle(samples: Sequence[Sample], name: str) -> float:
    """Median over the rounds."""
    return median(values(samples, name))


def ratio(samples: Sequence[Sample], others: Sequence[Sample], name: str) -> float:
    """Median of the ratios within each round."""
    return median(one / other for one, other in zip(values(samples, name), values(others, name), strict=True))


def ratio_within(samples: Sequence[Sample], name: str, other: str) -> float:
    """Median of the ratios of two values of each round."""
    return median(one / another for one, another in zip(values(samples, name), values(samples, other), strict=True))


def added(samples: Sequence[Sample], others: Sequence[Sample], name: str) -> float:
    """Median of the differences within each round."""
    return median(one - other for one, other in zip(values(samples, name), values(others, name), strict=True))


def point(x: float, samples: Sequence[Sample], name: str) -> tuple[float, float, float, float]:
    """For a picture: the median, and the least and the greatest."""
    found = values(samples, name)
    return x, median(found), min(found), max(found)


def spread(samples: Sequence[Sample], name: str) -> str:
    found = values(samples, name)
    return f"{number(median(found))} ({number(min(found))} to {number(max(found))})"


def number(value: float) -> str:
    """Three digits where there are no more before the point."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def head(*titles: str) -> str:
    return row(*titles) + "\n" + "|---" * len(titles) + "|"


def exponent(points: Sequence[tuple[float, ...]]) -> float:
    """The b of y = a·x^b that fits best: the slope of the logarithms."""
    return linear_regression([math.log(point[0]) for point in points], [math.log(point[1]) for point in points]).slope


def write_rounds(name: str, titles: Sequence[str], results: dict[tuple, list]) -> None:
    """All that was measured, a line a round: of samples of one class."""
    names = [field.name for field in fields(next(iter(results.values()))[0])]
    FIGURES.mkdir(parents=True, exist_ok=True)
    with open(FIGURES / f"{name}.csv", "w", newline="") as file:
        lines = csv.writer(file, lineterminator="\n")
        lines.writerow([*titles, "round", *names])
        for case, samples in results.items():
            for turn, sample in enumerate(samples, 1):
                lines.writerow([*case, turn, *(round(value, 3) for value in asdict(sample).values())])

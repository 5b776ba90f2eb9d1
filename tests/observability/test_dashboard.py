"""The dashboard shows what happened: every query answers, and every count is the load generator's own."""

import math

import pytest
from dashboard import PRICE, Watched, counted, definitions


def test_no_panel_is_empty(watched: Watched):
    empty = {panel.title: panel.unanswered for panel in watched.panels if panel.unanswered}
    assert empty == {}


def expected(books) -> dict[str, dict[str, float]]:
    """What each panel that counts must show, by title and legend."""
    embeddings = books["embeddings 200"] + books["embeddings 429"] + books["embeddings 500"]
    nominal, billed = books["tokens nominal"], books["tokens billed"]
    dollars = PRICE / 1e6
    gateway_inputs = {name: books[name] for name in ("memory", "store", "collapsed", "repeat", "miss")}
    paid_share = books["miss"] / sum(gateway_inputs.values()) * embeddings / (embeddings + books["varnish hit"])
    return {
        "Hit rate": {"": 1 - paid_share},
        "Saved": {"by the gateway": (nominal - billed) * dollars, "by Varnish (estimate)": books["tokens saved by Varnish"] * dollars},
        "Paid": {"": billed * dollars},
        "Tokens": {"nominal": nominal, "billed": billed, "saved": nominal - billed},
        "Embeddings requests by tier": {"Varnish": books["varnish hit"], "gateway": embeddings},
        "Inputs at the gateway by outcome": gateway_inputs,
        "Requests at the gateway": {name: count for name, count in books.items() if name.startswith(("embeddings ", "passthrough ", "purge "))},
        "Upstream calls": {name.split()[1]: count for name, count in books.items() if name.startswith("upstream ")},
        "Varnish in this range": {name: books[f"varnish {name}"] for name in ("hit", "miss", "pass")},
        "Filter in this range": {name.split()[1]: count for name, count in books.items() if name.startswith("filter ")},
    }


def test_every_count_is_the_load_generators_own(watched: Watched):
    wanted = expected(watched.books)
    assert min(min(counts.values()) for counts in wanted.values()) > 0, "a load that leaves out a kind proves nothing of it"
    shown = {panel.title: panel.counted for panel in watched.panels if panel.title in wanted}
    # To the last bits of a float.
    assert shown == {title: pytest.approx(counts, rel=1e-9) for title, counts in wanted.items()}


def test_every_figure_is_an_increase_over_the_whole_range_and_only_its_extrapolation_is_left_out(watched: Watched):
    for panel in (panel for panel in watched.panels if panel.title in expected(watched.books)):
        for target in panel.definition["targets"]:
            assert target["expr"].count("increase(") == target["expr"].count("[$__range]") > 0
            assert "[" not in counted(target["expr"], 0), "no range is left"


def test_every_panel_that_shows_one_figure_is_compared_with_the_load_generators(watched: Watched):
    counting = {panel["title"] for panel in definitions() if panel["type"] in ("stat", "bargauge")}
    # A version is no count.
    assert counting == {*expected(watched.books), "Running"}


def test_the_shares_of_the_tiers_are_a_whole(watched: Watched):
    panel = next(panel for panel in watched.panels if panel.title == "Hit rate by tier")
    sums: dict[float, float] = {}
    for _, points in panel.series:
        for moment, share in points:
            sums[moment] = sums.get(moment, 0) + share
    whole = [total for total in sums.values() if math.isfinite(total)]
    assert whole and all(total == pytest.approx(1) for total in whole)

"""Which queries Varnish looks up, and that it passes each one that the backend takes for a credential."""

import json
import re

from harness.paths import ROOT

from .varnish import EMBEDDINGS, VCL, body_hash

GRAMMAR = json.loads((VCL / "queries.json").read_text())


def test_a_query_is_looked_up_unless_it_may_hold_a_credential(start):
    varnish = start()
    longest = GRAMMAR["longest"] - len(f"{EMBEDDINGS}?a=")
    cases = [*GRAMMAR["cases"], {"query": "a=" + "b" * longest, "passes": False}, {"query": "a=" + "b" * (longest + 1), "passes": True}]
    expected, found = {}, {}
    for case in cases:
        query = case["query"]
        answers = [varnish.request("POST", f"{EMBEDDINGS}?{query}", {"X-Body-Hash": body_hash(0)}, b"{}") for _ in range(2)]
        expected[query] = not case["passes"]
        found[query] = answers[1].from_varnish
    assert found == expected


def test_every_name_that_the_backend_takes_for_a_credential_is_among_the_cases():
    source = (ROOT / "backend/src/http/credentials.rs").read_text()
    listed = re.search(r"const CREDENTIAL_QUERIES: \[&str; \d+\] = \[(.*?)\];", source, re.DOTALL)[1]
    names = re.findall(r'"([a-z_-]+)"', listed)
    passing = {case["query"] for case in GRAMMAR["cases"] if case["passes"]}
    assert len(names) >= 12
    assert [name for name in names if not any(query.endswith(f"{name}=a") for query in passing)] == []


def test_a_long_query_is_no_error(start):
    """A regular expression would give up on it."""
    varnish = start()
    for query in ("a" * 60_000, "&" * 60_000, "key" * 20_000):
        answer = varnish.request("POST", f"{EMBEDDINGS}?{query}", {"X-Body-Hash": body_hash(0)}, b"{}")
        assert (answer.status, answer.cache_status) == (200, "Varnish; fwd=bypass")

"""Varnish reads a request's Cache-Control by the grammar of its README; the backend's tests read the same cases."""

import itertools
import json
import tempfile
from pathlib import Path

import pytest
from harness import http1

from . import varnish
from .varnish import EMBEDDINGS, VCL, body_hash

GRAMMAR = json.loads((VCL / "cache-control.json").read_text())
CASES = [(case["lines"], case["means"]) for case in GRAMMAR["cases"]]
# Of bodies, each another.
numbers = itertools.count()


def expected(meanings: list[str]) -> str:
    """Of an answer that is stored. Varnish has a hit for only-if-cached, too, or asks the backend, which obeys it."""
    if "no-store" in meanings:
        return "Varnish; fwd=bypass"
    return "Varnish; fwd=request; stored" if "no-cache" in meanings else "Varnish; hit"


@pytest.fixture(scope="module")
def port(public_folder):
    """One varnishd for all tests of this file."""
    backend = varnish.Backend()
    running = varnish.start(Path(tempfile.mkdtemp(dir=public_folder)), backend.port)
    yield running.port
    running.process.stop()
    backend.stop()


@pytest.fixture
def ask(port):
    """Sends a request whose Cache-Control has these lines, for a body of this test; returns its status and what Varnish says of it."""
    own = body_hash(next(numbers))

    def ask_one(lines: list[str]) -> tuple[int, str]:
        headers = [("X-Body-Hash", own), *(("Cache-Control", line) for line in lines)]
        answer = http1.request(port, "POST", EMBEDDINGS, headers, b"{}")
        return answer.status, answer.values("cache-status")[0].partition("; ttl=")[0]

    assert ask_one([]) == (200, "Varnish; fwd=uri-miss; stored")
    return ask_one


def test_every_case_means_what_the_table_says(ask):
    assert {str(lines): ask(lines) for lines, _ in CASES} == {str(lines): (200, expected(means)) for lines, means in CASES}


def value_of(size: int, filler: str, end: str) -> str:
    """A value of that many bytes: an extension, as often as it fits `filler`, and the end."""
    rest = size - len("x,") - len(end)
    return "x" * (1 + rest % len(filler)) + "," + filler * (rest // len(filler)) + end


@pytest.mark.parametrize("filler", ["x,", "x=1,", 'x="a\\"",', ",", " ,", "x", "\t"])
def test_the_longest_value_is_read_to_its_end_and_a_longer_one_means_no_store(ask, filler):
    """The regular expression would give up on a value of any length, and Varnish answer 503."""
    longest = GRAMMAR["longest"]
    assert ask([value_of(longest, filler, "x,no-cache")]) == (200, expected(["no-cache"]))
    for size in (longest + 1, 60_000):
        assert ask([value_of(size, filler, "x,no-cache")]) == (200, expected(["no-store"]))

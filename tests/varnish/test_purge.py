"""A PURGE by tags, however many of them the broadcaster passes on."""

import re
from itertools import accumulate

import pytest
from harness.paths import ROOT

from .varnish import EMBEDDINGS, Varnish

SOURCE = (ROOT / "backend/src/http/tags.rs").read_text()
LONGEST_LIST = int(re.search(r"MAX_TAG_LIST_BYTES: usize = (\d+) << 10;", SOURCE)[1]) << 10


def whole_list(form: str) -> list[str]:
    """As many tags of this form as the longest list holds, with a blank between them."""
    size = len(form.format(0))
    most = [form.format(number) for number in range(LONGEST_LIST // size)]
    ends = accumulate(len(tag) + 1 for tag in most)
    return [tag for tag, end in zip(most, ends, strict=True) if end <= LONGEST_LIST + 1]


@pytest.mark.parametrize("form", ["{:x}", "m:{:x}", "model:text-embedding-3-small.{:05}", "m:" + "." * 248 + "{:06}"], ids=["plain", "short", "usual", "long"])
def test_the_longest_list_of_tags_ends_what_carries_any_of_them_and_nothing_else(start, form):
    """A regular expression that remembers each of them has room for some five hundred."""
    varnish: Varnish = start()
    tags = whole_list(form)
    carried = {0: tags[0], 1: tags[-1], 2: "model:m " + tags[len(tags) // 2], 3: "model:m"}
    for number, carries in carried.items():
        varnish.embed(number, {"X-Answer-Tags": carries})

    said = varnish.request("PURGE", EMBEDDINGS, {"Surrogate-Key": " ".join(tags)})
    assert (said.status, said.json["banned"]["tags"]) == (200, tags)
    assert [varnish.embed(number).from_varnish for number in carried] == [False, False, False, True]


def test_one_wrong_tag_at_the_end_of_the_longest_list_refuses_all_of_it(start):
    varnish: Varnish = start()
    tags = whole_list("m:{:x}")
    varnish.embed(0, {"X-Answer-Tags": tags[0]})
    for wrong in ("m:", "m:(", ":m", "m:" + "x" * 255):
        assert varnish.request("PURGE", "/", {"Surrogate-Key": " ".join([*tags[:-99], wrong])}).status == 400, wrong
    assert varnish.embed(0).from_varnish


def test_a_tag_that_is_named_five_hundred_times_counts_once(start):
    varnish: Varnish = start()
    varnish.embed(0, {"X-Answer-Tags": "model:m"})
    said = varnish.request("PURGE", "/", {"Surrogate-Key": "model:m " * 500})
    assert (said.status, said.json["banned"]["tags"]) == (200, ["model:m"])
    mixed = [f"t:{number}" for number in range(250)]
    said = varnish.request("PURGE", "/", {"Surrogate-Key": ",".join(mixed + mixed)})
    assert (said.status, said.json["banned"]["tags"]) == (200, mixed)
    assert not varnish.embed(0).from_varnish

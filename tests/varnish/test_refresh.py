"""Cache-Control: no-cache, again and again: one answer is kept of each body, and other bodies' answers keep their room."""

from harness.waiting import eventually

from .varnish import Varnish

BYTES = {"X-Answer-Bytes": "100000"}
PATIENCE_SECONDS = 30


def test_a_body_that_is_fetched_anew_a_thousand_times_takes_the_room_of_one(start):
    varnish: Varnish = start(MEMORY="32m")
    assert not varnish.embed(0, BYTES).from_varnish
    for fetched in range(1000):
        assert varnish.embed(1, BYTES | {"Cache-Control": "no-cache"}).cache_status == "Varnish; fwd=request; stored"
        if fetched % 100 == 99:
            # What the last hundred left takes a third of the store.
            eventually(lambda: varnish.counter("MAIN.n_object") <= 3, PATIENCE_SECONDS, "the older answers are gone", 0.05)
    assert varnish.counter("MAIN.n_lru_nuked") == 0
    assert varnish.embed(0, BYTES).from_varnish
    assert varnish.embed(1, BYTES).from_varnish


def test_bodies_that_are_asked_for_with_no_cache_alone_leave_no_bans(start):
    varnish: Varnish = start()
    for number in range(100):
        varnish.embed(number, {"Cache-Control": "no-cache"})
    assert varnish.counter("MAIN.bans_added") == 1

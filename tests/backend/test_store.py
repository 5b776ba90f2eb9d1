"""Gateways that share a real bucket."""

import os
import signal

from harness.s3 import BUCKET
from harness.secrets import secret
from harness.waiting import eventually

HIT = "embedding-gateway; hit"
# What a machine that does other things adds to a promised time.
BUSY_SECONDS = 10


def vectors(answer) -> list:
    assert answer.status == 200, answer.body
    return [item["embedding"] for item in answer.json["data"]]


def test_two_gateways_on_one_bucket_share_everything(start, accept, s3, standin):
    first, second = start(**s3.variables()), start(**s3.variables())
    texts = ["shared one", "shared two", "shared three"]
    paid = first.embed(texts)
    eventually(lambda: first.stored("ok") >= len(texts), what="the writes")
    accept(second)
    shared = second.embed(list(reversed(texts)))
    assert vectors(shared) == list(reversed(vectors(paid)))
    assert shared.cache_status == HIT
    assert shared.headers["x-embedding-billed-tokens"] == "0"
    assert [standin.times_asked(text) for text in texts] == [1, 1, 1]


def test_nothing_that_waits_at_sigterm_is_lost(start, accept, s3):
    # On a busy machine the S3 server takes its time, for the writes as for the look-ups.
    gateway = start(**s3.variables(SHUTDOWN_GRACE="3m"))
    texts = [f"pending {number}" for number in range(2000)]
    paid = gateway.embed(texts)
    assert gateway.stored("ok") < len(texts), "some writes must still wait"
    assert gateway.stop(timeout=200) == 0

    again = start(**s3.variables())
    accept(again)
    kept = again.embed(texts)
    assert kept.cache_status == HIT
    assert vectors(kept) == vectors(paid)


def test_a_bucket_that_goes_away_and_comes_back(start, accept, s3):
    writer, reader = start(**s3.variables()), start(**s3.variables())
    paid = vectors(writer.embed(["lasting"]))
    eventually(lambda: writer.stored("ok") >= 1, what="the write")
    accept(reader)
    s3.stop()
    try:
        # Enough failures to open the breaker, each request answered all the same.
        assert len(vectors(reader.embed([f"without a bucket {number}" for number in range(20)]))) == 20
        assert reader.embed(["without a bucket, again"]).status == 200
        assert reader.stored("skipped", "get") >= 1
    finally:
        s3.start()
    numbers = iter(range(1_000_000))

    def store_works() -> bool:
        reader.embed([f"is it back {next(numbers)}"])
        return reader.stored("absent", "get") >= 1

    eventually(store_works, 60, "the breaker to close")
    back = reader.embed(["lasting"])
    assert (back.cache_status, vectors(back)) == (HIT, paid)


def test_a_vector_that_a_failed_look_up_did_not_find_outlives_the_one_that_is_paid_for_again(start, accept, s3, standin):
    writer = start(**s3.variables())
    texts = [f"older {number}" for number in range(20)]
    older = vectors(writer.embed(texts))
    eventually(lambda: writer.stored("ok") >= len(texts), what="the writes")
    hasty = start(**s3.variables(STORE_TIMEOUT="1ms"))
    eventually(lambda: "the store can keep what is there" in hasty.log.read_text(), what="the check of the store")
    accept(hasty)
    standin.set_vectors(generation=1)
    try:
        newer = [vectors(hasty.embed(text))[0] for text in texts]
    finally:
        standin.set_vectors()
    missed = [text for text, one, other in zip(texts, older, newer, strict=True) if one != other]
    assert missed, "no look-up failed"
    # And the one that earned the hits.
    eventually(lambda: hasty.stored("ok") >= len(missed) + 1, what="the writes")
    reader = start(**s3.variables())
    accept(reader)
    assert vectors(reader.embed(texts)) == older


def test_a_wrong_secret_costs_misses_only(start, s3):
    gateway = start(**s3.variables(AWS_SECRET_ACCESS_KEY=secret("wrong")))
    assert len(vectors(gateway.embed(["with a wrong secret"]))) == 1
    eventually(lambda: gateway.stored("failed") >= 1, what="a counted failure")


def test_a_bucket_that_does_not_exist_is_told_and_costs_misses_only(start, s3):
    gateway = start(**s3.narrow(S3_BUCKET="absent"))
    eventually(lambda: "store: cannot write" in gateway.readyz(), what="the remark")
    assert len(vectors(gateway.embed([f"no bucket {number}" for number in range(20)]))) == 20
    eventually(lambda: gateway.stored("failed") >= 1, what="a counted failure")
    assert gateway.metric('embedding_gateway_store_refuses{right="write"}') == 1
    assert "the store fails" in gateway.log.read_text()


def test_a_key_that_may_only_get_and_put_misses_hits_and_says_what_it_lacks(start, accept, s3):
    first = start(**s3.narrow())
    eventually(lambda: "store: cannot" in first.readyz(), what="the remark")
    assert "read" not in first.readyz().partition("cannot")[2] and "write" not in first.readyz()
    accept(first)
    texts = [f"narrow {number}" for number in range(20)]
    paid = first.embed(texts)
    # And the one that earned the hits.
    assert (first.stored("absent", "get"), first.stored("failed", "get")) == (20 + 1, 0)
    eventually(lambda: first.stored("ok") >= 20, what="the writes")
    second = start(**s3.narrow())
    accept(second)
    kept = second.embed(texts)
    assert (kept.cache_status, vectors(kept)) == (HIT, vectors(paid))


def test_a_purge_is_seen_by_the_other_gateway_within_five_seconds(start, accept, s3, standin):
    token = secret("admin")
    variables = s3.variables(ADMIN_TOKEN=token)
    first, second = start(**variables), start(**variables)
    first.embed("purged")
    eventually(lambda: first.stored("ok") >= 1, what="the write")
    accept(second)
    eventually(lambda: second.embed("purged").cache_status == HIT, what="a hit at the second gateway")
    times = standin.times_asked("purged")

    assert first.purge(secret("stranger")).status == 401
    tags = {"surrogate-key": "model:text-embedding-3-small"}
    assert first.purge(token, **tags).json == {"purged": ["model:text-embedding-3-small"]}
    eventually(lambda: second.embed("purged").cache_status != HIT, 5 + BUSY_SECONDS, "the purge to arrive")
    assert standin.times_asked("purged") == times + 1
    assert second.embed("purged").cache_status == HIT


def test_thousands_of_old_markers_silence_no_purge_and_are_deleted(start, accept, s3):
    token = secret("admin")
    variables = s3.variables(ADMIN_TOKEN=token, STORE=f"s3://{BUCKET}/crowded")
    s3.put_named([f"crowded/purge/model/m/{1_700_000_000_000 + number}" for number in range(3000)])
    first, second = start(**variables), start(**variables)
    first.embed("in a crowd")
    eventually(lambda: first.stored("ok") >= 1, what="the write")
    accept(second)
    eventually(lambda: second.embed("in a crowd").cache_status == HIT, 60, "a hit at the second gateway")
    tags = {"surrogate-key": "model:text-embedding-3-small"}
    assert first.purge(token, **tags).status == 200
    eventually(lambda: second.embed("in a crowd").cache_status != HIT, 60, "the purge to arrive")
    eventually(lambda: len(s3.names(f"/buckets/{BUCKET}/crowded/purge/model/m")) == 1, 120, "old markers to go")


def test_a_killed_gateway_leaves_a_store_that_reads_well(start, accept, s3):
    gateway = start(**s3.variables())
    texts = [f"killed {number}" for number in range(500)]
    paid = vectors(gateway.embed(texts))
    os.kill(gateway.process.pid, signal.SIGKILL)
    again = start(**s3.variables())
    accept(again)
    assert vectors(again.embed(texts)) == paid
    assert again.stored("unusable", "get") == 0

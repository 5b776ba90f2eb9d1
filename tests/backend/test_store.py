"""Gateways that share a real bucket."""

import os
import signal

from harness.secrets import secret
from harness.waiting import eventually

HIT = "embedding-gateway; hit"


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

    again = start(**s3.variables(STORE_TIMEOUT="1m"))
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

    eventually(store_works, 30, "the breaker to close")
    back = reader.embed(["lasting"])
    assert (back.cache_status, vectors(back)) == (HIT, paid)


def test_a_wrong_secret_costs_misses_only(start, s3):
    gateway = start(**s3.variables(AWS_SECRET_ACCESS_KEY=secret("wrong")))
    assert len(vectors(gateway.embed(["with a wrong secret"]))) == 1
    eventually(lambda: gateway.stored("failed") >= 1, what="a counted failure")


def test_a_purge_is_seen_by_the_other_gateway_within_five_seconds(start, accept, s3, standin):
    token = secret("admin")
    variables = s3.variables(ADMIN_TOKEN=token)
    first, second = start(**variables), start(**variables)
    first.embed("purged")
    eventually(lambda: first.stored("ok") >= 1, what="the write")
    accept(second)
    eventually(lambda: second.embed("purged").cache_status == HIT, what="a hit at the second gateway")
    times = standin.times_asked("purged")

    assert first.purge(secret("nobody")).status == 401
    tags = {"surrogate-key": "model:text-embedding-3-small"}
    assert first.purge(token, **tags).json == {"purged": ["model:text-embedding-3-small"]}
    eventually(lambda: second.embed("purged").cache_status != HIT, 5, "the purge to arrive")
    assert standin.times_asked("purged") == times + 1
    assert second.embed("purged").cache_status == HIT


def test_a_killed_gateway_leaves_a_store_that_reads_well(start, accept, s3):
    gateway = start(**s3.variables())
    texts = [f"killed {number}" for number in range(500)]
    paid = vectors(gateway.embed(texts))
    os.kill(gateway.process.pid, signal.SIGKILL)
    again = start(**s3.variables(STORE_TIMEOUT="1m"))
    accept(again)
    assert vectors(again.embed(texts)) == paid
    assert again.stored("unusable", "get") == 0

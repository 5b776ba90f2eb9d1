"""The whole chain on a real S3 server, when a part of it is gone, comes back, or is purged."""

import json
import os
import random
import time
import uuid

import openai
import pytest
from harness.client import Answer, send
from harness.load import Load, Question
from harness.secrets import secret
from harness.waiting import eventually
from parts import Parts

MODEL = "text-embedding-3-small"
# Small vectors: the load is on the requests, not on the bytes.
DIMENSIONS = 8
DOWN_SECONDS = 1
# Varnish believes a backend that is back after three answers, one a second; a busy machine takes its time for them.
RECOVERY_SECONDS = 60
# The load generator, Envoy, Varnish and the backend share the cores.
STEADY_RATE = 1000 if (os.cpu_count() or 1) >= 4 else 300
STEADY_SECONDS = 30
# The most that a machine with other work may take for that many answers.
STEADY_TIMEOUT_SECONDS = 10 * STEADY_SECONDS


@pytest.fixture(scope="module")
def parts(public_folder):
    # On a busy machine the S3 server takes its time.
    running = Parts(public_folder / "parts", STORE_TIMEOUT="30s")
    yield running
    running.stop()


@pytest.fixture
def key() -> str:
    """A key of its own for each test: what another test cached is not its to see."""
    return secret("parts")


@pytest.fixture
def client(parts, key):
    return openai.OpenAI(base_url=f"{parts.url}/v1", api_key=key, max_retries=0)


def fresh(count: int) -> list[str]:
    run = uuid.uuid4().hex
    return [f"text {number} of {run}" for number in range(count)]


def upstream_inputs(parts) -> int:
    return send(parts.standin.url, "GET", "/stats").json["embeddings"]["inputs"]


def body(inputs) -> bytes:
    return json.dumps({"model": MODEL, "input": inputs, "dimensions": DIMENSIONS, "encoding_format": "base64"}).encode()


def create(client, inputs):
    return client.embeddings.with_raw_response.create(model=MODEL, input=inputs, dimensions=DIMENSIONS)


def vectors(answer) -> list[list[float]]:
    return [item.embedding for item in answer.parse().data]


def test_a_vector_outlives_varnish_and_the_backends_memory_in_the_bucket(parts, client):
    words = fresh(5)
    bought = vectors(create(client, words))
    eventually(lambda: parts.written() >= 5, what="the writes")
    for name in ("backend", "varnish"):
        parts.kill(name)
        parts.start(name)
    # A restart forgets which keys the upstream takes: this call earns the key its hits anew.
    create(client, fresh(1))
    paid = upstream_inputs(parts)

    answer = create(client, words)
    assert vectors(answer) == bought
    assert "hit" in answer.headers["cache-status"]
    assert upstream_inputs(parts) == paid


def test_a_hit_needs_neither_upstream_nor_backend(parts, client):
    words = fresh(3)
    bought = vectors(create(client, words))
    stats = send(parts.standin.url, "GET", "/stats").json["requests"]
    parts.kill("backend")
    try:
        answer = create(client, words)
        assert "Varnish; hit" in answer.headers["cache-status"]
        assert vectors(answer) == bought
        assert send(parts.standin.url, "GET", "/stats").json["requests"] == stats
    finally:
        parts.start("backend")


def purge(parts, path: str = "/v1/embeddings", **headers: str) -> Answer:
    return send(parts.broadcaster_url, "PURGE", path, headers={name.replace("_", "-"): value for name, value in headers.items()})


@pytest.mark.parametrize(
    "headers", [{}, {"Surrogate_Key": f"model:{MODEL}"}, {"X_Purge_All": "true"}], ids=["url", "tag", "all"]
)
def test_what_is_purged_through_the_broadcaster_is_paid_for_again(parts, client, headers):
    words = fresh(2)
    create(client, words)
    assert "Varnish; hit" in create(client, words).headers["cache-status"]
    paid = upstream_inputs(parts)

    said = purge(parts, **headers)
    assert (said.status, said.json["failed"]) == (200, 0)
    answer = create(client, words)
    assert "Varnish; hit" not in answer.headers["cache-status"]
    assert upstream_inputs(parts) == paid + 2


def test_a_purge_of_another_tag_leaves_everything(parts, client):
    words = fresh(2)
    create(client, words)
    assert purge(parts, Surrogate_Key=f"model:{MODEL}-not model:none").status == 200
    assert "Varnish; hit" in create(client, words).headers["cache-status"]


def test_a_429_is_forwarded_and_not_remembered(parts, client):
    words = fresh(1)
    send(parts.standin.url, "PUT", "/faults", {"status": 429, "retry_after": "7"}, {"content-type": "application/json"})
    try:
        with pytest.raises(openai.RateLimitError) as refused:
            create(client, words)
    finally:
        send(parts.standin.url, "DELETE", "/faults")
    assert refused.value.response.headers["retry-after"] == "7"
    assert vectors(create(client, words))


def test_two_keys_do_not_share(parts, client):
    words = fresh(2)
    create(client, words)
    paid = upstream_inputs(parts)
    other = client.with_options(api_key=secret("other"))
    assert "hit" not in create(other, words).headers["cache-status"]
    assert upstream_inputs(parts) == paid + 2


def test_a_body_of_5_mib_goes_past_the_http_cache_and_hits_in_the_backend(parts, key):
    # White space: as many bytes of text would be more tokens than the upstream takes.
    asked = body(fresh(3)) + b" " * (5 * 1024 * 1024)
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    bought = send(parts.url, "POST", "/v1/embeddings", asked, headers)
    paid = upstream_inputs(parts)

    answer = send(parts.url, "POST", "/v1/embeddings", asked, headers)
    assert answer.cache_status == "embedding-gateway; hit, Varnish; fwd=bypass"
    assert answer.json["data"] == bought.json["data"]
    assert upstream_inputs(parts) == paid


def embed(url: str, key: str, inputs: list[str]) -> Answer:
    return send(url, "POST", "/v1/embeddings", body(inputs), {"authorization": f"Bearer {key}", "content-type": "application/json"})


def bought(parts, key: str, count: int) -> dict[str, str]:
    """Texts and their vectors, as the upstream itself gives them, and paid for through the chain."""
    texts = fresh(count)
    own = embed(parts.standin.url, key, texts)
    assert embed(parts.url, key, texts).status == 200
    return {text: item["embedding"] for text, item in zip(texts, own.json["data"], strict=True)}


def mixed(parts, key: str, right: dict[str, str], per_second: int) -> Load:
    """Single inputs, which Varnish soon has, and so many different batches that it has few of them."""
    texts = list(right)

    def choose(chosen: random.Random) -> Question:
        inputs = [chosen.choice(texts)] if chosen.random() < 0.5 else chosen.sample(texts, 5)
        return Question.of(body(inputs), key, [right[text] for text in inputs])

    return Load(parts.url, choose, per_second=per_second)


def serves(parts, key: str) -> bool:
    """Whether a request that needs every part from the client to the upstream is answered."""
    try:
        return embed(parts.url, key, fresh(1)).status == 200
    except OSError:
        return False


@pytest.mark.parametrize("name", Parts.names())
def test_a_part_that_is_killed_and_comes_back_costs_errors_only_while_it_is_down(parts, key, name):
    right = bought(parts, key, 100)
    with mixed(parts, key, right, per_second=200) as load:
        load.wait_for(200)
        begun = time.monotonic()
        parts.kill(name)
        time.sleep(DOWN_SECONDS)
        parts.start(name)
        eventually(lambda: serves(parts, key), RECOVERY_SECONDS, f"answers after {name} has come back")
        down = (begun, time.monotonic())
        load.wait_for(200)
    assert load.tally.wrong == []
    assert load.tally.failures_outside([down]) == []
    if name == "broadcaster":
        assert load.tally.failed == [], "no request passes it"


def test_the_s3_server_is_killed_and_comes_back_and_no_request_fails(parts, key):
    right = bought(parts, key, 100)
    with mixed(parts, key, right, per_second=200) as load:
        load.wait_for(200)
        parts.s3.stop()
        try:
            assert serves(parts, key)
        finally:
            parts.s3.start()
        load.wait_for(200)
    assert (load.tally.wrong, load.tally.failed) == ([], [])


def test_mixed_hits_at_a_steady_rate_without_one_error(parts, key):
    """About half of them in Varnish, half in the backend's memory."""
    right = bought(parts, key, 200)
    begun = time.monotonic()
    with mixed(parts, key, right, per_second=STEADY_RATE) as load:
        load.wait_for(STEADY_RATE * STEADY_SECONDS, STEADY_TIMEOUT_SECONDS)
    took = time.monotonic() - begun
    print(f"{load.tally.right / took:.0f} requests a second for {took:.0f} s: {load.tally.caches}")
    assert (load.tally.wrong, load.tally.failed) == ([], [])
    assert all(count > load.tally.right / 10 for count in load.tally.caches.values())
    assert len(load.tally.caches) == 2

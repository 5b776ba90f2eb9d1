"""The whole chain on a real S3 server, when a part of it is gone, comes back, or is purged."""

import base64
import os
import random
import time
import uuid

import openai
import pytest
from harness.client import Answer, send
from harness.secrets import secret
from harness.waiting import eventually
from load import DIMENSIONS, MODEL, Load, body, question
from parts import Parts

# What a part that is back may take until everybody in front of it has noticed: Varnish believes its backend after three answers, one a second.
RECOVERY_SECONDS = 5
DOWN_SECONDS = 1
# The load generator, Envoy, Varnish and the backend share the cores.
STEADY_RATE = 1000 if (os.cpu_count() or 1) >= 4 else 300
STEADY_SECONDS = 30


@pytest.fixture(scope="module")
def parts(public_folder):
    running = Parts(public_folder / "parts")
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


def bought(parts, key: str, count: int) -> dict[str, bytes]:
    """Texts and their vectors, as the upstream itself gives them, and paid for through the chain."""
    texts = fresh(count)
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    own = send(parts.standin.url, "POST", "/v1/embeddings", body(texts), headers)
    assert send(parts.url, "POST", "/v1/embeddings", body(texts), headers).status == 200
    return {text: base64.b64decode(item["embedding"]) for text, item in zip(texts, own.json["data"], strict=True)}


def mixed(parts, key: str, right: dict[str, bytes]) -> list:
    """Single inputs, which Varnish soon has, and so many different batches that it has few of them."""
    texts, chosen = list(right), random.Random(1)
    singles = [question(parts.url, key, [text], right) for text in texts]
    batches = [question(parts.url, key, chosen.sample(texts, 5), right) for _ in range(5000)]
    return singles * (len(batches) // len(singles)) + batches


@pytest.mark.parametrize("name", Parts.names())
def test_a_part_that_is_killed_and_comes_back_costs_errors_only_while_it_is_down(parts, key, name):
    right = bought(parts, key, 100)
    with Load(parts.url, mixed(parts, key, right), per_second=200) as load:
        eventually(lambda: load.tally.right > 200, 30, "load")
        begun = time.monotonic()
        parts.kill(name)
        time.sleep(DOWN_SECONDS)
        parts.start(name)
        down = (begun, time.monotonic() + RECOVERY_SECONDS)
        before = load.tally.right
        eventually(lambda: time.monotonic() > down[1] and load.tally.right > before + 200, 60, "load after the restart")
    assert load.tally.wrong == []
    assert load.tally.failures_outside([down]) == []
    if name == "broadcaster":
        assert load.tally.failed == [], "it is in nobody's way"


def test_the_s3_server_is_killed_and_comes_back_and_nobody_notices(parts, key):
    right = bought(parts, key, 100)
    with Load(parts.url, mixed(parts, key, right), per_second=200) as load:
        eventually(lambda: load.tally.right > 200, 30, "load")
        parts.s3.stop()
        try:
            new = vectors(create(openai.OpenAI(base_url=f"{parts.url}/v1", api_key=key, max_retries=0), fresh(3)))
            assert len(new) == 3
        finally:
            parts.s3.start()
        before = load.tally.right
        eventually(lambda: load.tally.right > before + 200, 30, "load after the restart")
    assert (load.tally.wrong, load.tally.failed) == ([], [])


def test_mixed_hits_at_a_steady_rate_without_one_error(parts, key):
    """About half of them in Varnish, half in the backend's memory."""
    right = bought(parts, key, 200)
    begun = time.monotonic()
    with Load(parts.url, mixed(parts, key, right), per_second=STEADY_RATE) as load:
        time.sleep(STEADY_SECONDS)
    took = time.monotonic() - begun
    print(f"{load.tally.right / took:.0f} requests a second for {took:.0f} s: {load.tally.caches}")
    assert (load.tally.wrong, load.tally.failed) == ([], [])
    assert load.tally.right > STEADY_RATE * STEADY_SECONDS * 0.9
    assert all(count > load.tally.right / 10 for count in load.tally.caches.values())
    assert len(load.tally.caches) == 2

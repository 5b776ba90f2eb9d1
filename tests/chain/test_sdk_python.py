"""The official Python SDK, unchanged, through Envoy, Varnish and the backend."""

import base64
import hashlib
import json
import struct
import uuid

import openai
import pytest
from harness.secrets import secret

MODEL = "text-embedding-3-small"


@pytest.fixture
def client(chain):
    # A key of its own for each test: what another test cached is not its to see.
    return openai.OpenAI(base_url=chain.openai_url, api_key=secret("python"), max_retries=0)


def fresh(*names: str) -> list[str]:
    """Inputs that no request has asked for before."""
    run = uuid.uuid4().hex
    return [f"{name} {run}" for name in names]


def cache_status(answer) -> list[str]:
    """The members of Cache-Status (RFC 9211), the cache nearest to the origin first."""
    return [member.strip() for member in answer.headers["cache-status"].split(",")]


def f32(vector: list[float]) -> bytes:
    return struct.pack(f"<{len(vector)}f", *vector)


def test_the_second_call_comes_from_varnish_and_nobody_upstream_hears_of_it(chain, client):
    words = fresh("first", "second")
    miss = client.embeddings.with_raw_response.create(model=MODEL, input=words)
    assert miss.headers["x-embedding-billed-tokens"] != "0"
    assert "hit" not in cache_status(miss)[-1]
    assert chain.upstream_stats()["embeddings"]["calls"] == 1

    hit = client.embeddings.with_raw_response.create(model=MODEL, input=words)
    assert "hit" in cache_status(hit)[-1]
    assert hit.headers["x-embedding-billed-tokens"] == "0"
    assert chain.upstream_stats()["embeddings"]["calls"] == 1
    assert hit.parse().data == miss.parse().data


def test_another_batch_order_and_encoding_sends_only_what_is_new(chain, client):
    first, second, third = fresh("first", "second", "third")
    before = client.embeddings.create(model=MODEL, input=[first, second])

    after = client.embeddings.create(model=MODEL, input=[third, second, first, third], encoding_format="float")
    stats = chain.upstream_stats()["embeddings"]
    assert (stats["calls"], stats["inputs"]) == (2, 3), "two, then only the third, once"
    assert [item.index for item in after.data] == [0, 1, 2, 3]
    assert f32(after.data[2].embedding) == f32(before.data[0].embedding)
    assert f32(after.data[1].embedding) == f32(before.data[1].embedding)
    assert f32(after.data[0].embedding) == f32(after.data[3].embedding)

    encoded = client.embeddings.create(model=MODEL, input=second, encoding_format="base64")
    assert base64.b64decode(encoded.data[0].embedding) == f32(before.data[1].embedding)
    assert chain.upstream_stats()["embeddings"]["calls"] == 2


def test_a_vector_through_the_chain_is_the_upstreams_own_bit_for_bit(chain, client):
    (word,) = fresh("bits")
    direct = openai.OpenAI(base_url=chain.upstream, api_key=secret("direct"), max_retries=0)
    for dimensions in (256, 1536):
        own = direct.embeddings.create(model=MODEL, input=word, dimensions=dimensions)
        for _ in range(2):
            through = client.embeddings.create(model=MODEL, input=word, dimensions=dimensions)
            assert f32(through.data[0].embedding) == f32(own.data[0].embedding)
            assert len(through.data[0].embedding) == dimensions


def test_two_keys_share_nothing(chain, client):
    (word,) = fresh("private")
    client.embeddings.create(model=MODEL, input=word)
    other = client.with_options(api_key=secret("python-too"))
    answer = other.embeddings.with_raw_response.create(model=MODEL, input=word)
    assert "hit" not in answer.headers["cache-status"]
    assert chain.upstream_stats()["embeddings"]["calls"] == 2


def test_a_clients_own_hash_chooses_no_cache_key(chain, client):
    (mine, other) = fresh("mine", "other")

    def body(text: str) -> dict:
        return {"model": MODEL, "input": text, "encoding_format": "float"}

    victim = client.embeddings.create(**body(mine))
    spoofed = client.embeddings.with_raw_response.create(
        **body(other), extra_headers={"X-Body-Hash": hashlib.sha256(json.dumps(body(mine)).encode()).hexdigest()}
    )
    assert "hit" not in spoofed.headers["cache-status"]
    assert spoofed.parse().data[0].embedding != victim.data[0].embedding


def test_token_arrays_and_the_text_that_looks_like_them_are_different_inputs(chain, client):
    tokens = client.embeddings.create(model=MODEL, input=[[1, 2], [3]])
    text = client.embeddings.create(model=MODEL, input=["1,2", "[1,2]"])
    assert chain.upstream_stats()["embeddings"]["inputs"] == 4
    assert tokens.data[0].embedding not in [item.embedding for item in text.data]


def test_a_models_own_name_is_the_upstreams_on_hits_as_on_misses(client):
    (word,) = fresh("ada")
    names = [client.embeddings.create(model="text-embedding-ada-002", input=word).model for _ in range(2)]
    in_a_batch = client.embeddings.create(model="text-embedding-ada-002", input=[word]).model
    assert {*names, in_a_batch} == {"text-embedding-ada-002-v2"}


def test_chat_streams_event_by_event(chain, client):
    stream = client.chat.completions.create(
        model="gpt-4o-mini", messages=[{"role": "user", "content": "say something long"}], stream=True
    )
    events = list(stream)
    assert len(events) > 2
    assert "".join(event.choices[0].delta.content or "" for event in events if event.choices)


def test_chat_and_models_answer_and_are_not_cached(chain, client):
    def ask():
        return client.chat.completions.create(model="gpt-4o-mini", messages=[{"role": "user", "content": "hi"}])

    assert ask().choices[0].message.content
    assert ask().choices[0].message.content
    assert chain.upstream_stats()["requests"]["POST /v1/chat/completions"] == 2
    assert [model.id for model in client.models.list()]


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ({"status": 401}, openai.AuthenticationError),
        ({"status": 403}, openai.PermissionDeniedError),
        ({"status": 404}, openai.NotFoundError),
        ({"status": 400}, openai.BadRequestError),
        ({"status": 429, "retry_after": "7"}, openai.RateLimitError),
        ({"status": 500}, openai.InternalServerError),
    ],
    ids=lambda value: str(value.get("status")) if isinstance(value, dict) else value.__name__,
)
def test_an_upstream_error_raises_the_sdks_own_exception_and_is_forgotten(chain, client, fault, error):
    (word,) = fresh("error")
    chain.misbehave(**fault)
    with pytest.raises(error) as raised:
        client.embeddings.create(model=MODEL, input=word)
    assert raised.value.status_code == fault["status"]
    assert raised.value.body["message"]
    if "retry_after" in fault:
        assert raised.value.response.headers["retry-after"] == fault["retry_after"]
    chain.behave()
    assert client.embeddings.create(model=MODEL, input=word).data[0].embedding


def test_what_the_sdk_sends_wrong_raises_its_bad_request_error(client):
    with pytest.raises(openai.BadRequestError):
        client.embeddings.create(model=MODEL, input="")
    with pytest.raises(openai.NotFoundError):
        client.embeddings.create(model="no-such-model", input="x")

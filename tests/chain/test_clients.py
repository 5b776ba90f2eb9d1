"""The clients of docs/clients.md, unchanged, through Envoy, Varnish and the backend: each promise on each of them."""

import hashlib
import os
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache

import pytest
from clients import Client, Kind, Program, build_go, f32
from harness.client import send
from harness.secrets import secret

MODEL = "text-embedding-3-small"

KINDS = [
    Kind("openai-python", "python", "openai", "base64", "openai.NotFoundError", "openai.RateLimitError", shows_headers=True, takes_format=True),
    Kind("openai-node", "node", "openai", "base64", "NotFoundError", "RateLimitError", shows_headers=True, takes_format=True),
    Kind("openai-go", "go", "openai-go", "float", "*apierror.Error", "*apierror.Error", shows_headers=True, takes_format=True),
    Kind("openai-java", "java", "openai", "base64", "NotFoundException", "RateLimitException", shows_headers=True, takes_format=True),
    Kind("langchain", "langchain", "langchain", "base64", "openai.NotFoundError", "openai.RateLimitError"),
    Kind("langchain, tokens", "langchain", "langchain-tokens", "base64", "openai.NotFoundError", "openai.RateLimitError", as_tokens=True),
    Kind("vercel", "node", "vercel", "float", "APICallError", "APICallError", shows_headers=True, obeys_should_retry=False, patience=3),
    Kind(
        "go-openai", "go", "go-openai", "float", "*openai.APIError", "*openai.APIError", shows_headers=True, takes_format=True, retries=False
    ),
    Kind(
        "langchain4j",
        "java",
        "langchain4j",
        "float",
        "ModelNotFoundException",
        "RateLimitException",
        takes_format=True,
        obeys_retry_after=False,
        obeys_should_retry=False,
    ),
]
# Half a gigabyte of packages: tried by hand, as docs/clients.md says.
MORE_KINDS = [
    Kind("llamaindex", "more", "llamaindex", "base64", "openai.NotFoundError", "openai.RateLimitError"),
    Kind("litellm", "more", "litellm", "float", "litellm.NotFoundError", "litellm.RateLimitError", takes_format=True),
    Kind("haystack", "more", "haystack", "float", "openai.NotFoundError", "openai.RateLimitError"),
]
if os.environ.get("MORE_CLIENTS"):
    KINDS += MORE_KINDS


@pytest.fixture(scope="session")
def program_of(tmp_path_factory) -> Iterator[Callable[[str], Program]]:
    """The program of a runtime, started when its first client is asked."""
    folder = tmp_path_factory.mktemp("clients")
    build_go(folder)
    with ExitStack() as running:
        yield cache(lambda runtime: running.enter_context(Program(runtime, folder)))


@pytest.fixture(scope="module", params=KINDS, ids=lambda kind: kind.name)
def client(request, program_of) -> Client:
    return Client(request.param, program_of(request.param.runtime))


@pytest.fixture(scope="module")
def key(client) -> str:
    return secret(client.kind.argument)


@pytest.fixture(scope="session")
def other_key() -> str:
    """What it earns is not the client's."""
    return secret("direct")


def fresh(*names: str) -> list[str]:
    """Inputs that no test has asked for before."""
    run = uuid.uuid4().hex
    return [f"{name} {run}" for name in names]


def right(chain, kind: Kind, key: str, inputs: list[str]) -> list[bytes]:
    """The upstream's own vectors, by a plain HTTP request."""
    asked = [list(text.encode()) for text in inputs] if kind.as_tokens else inputs
    body = {"model": MODEL, "input": asked, "encoding_format": "base64"}
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    answer = send(chain.standin, "POST", "/v1/embeddings", body, headers)
    chain.forget_upstream_stats()
    return [f32(item["embedding"]) for item in answer.json["data"]]


def times_asked(chain, kind: Kind, text: str) -> int:
    counted = chain.upstream_stats()["embeddings"]
    if kind.as_tokens:
        return counted["token_arrays"].get(hashlib.sha256(str(list(text.encode())).replace(" ", "").encode()).hexdigest(), 0)
    return counted["texts"].get(hashlib.sha256(text.encode()).hexdigest(), 0)


def refuse(chain, status: int, **more) -> None:
    chain.misbehave(status=status, when={"path": "/v1/embeddings"}, **more)


def test_a_batch_gets_the_upstreams_vectors_and_a_repeat_gets_them_from_the_cache(chain, client, key, other_key):
    words = fresh("first", "second", "third")
    vectors = right(chain, client.kind, other_key, words)
    first = client.ask(chain.openai_url, key, words, MODEL)
    assert (first.error, first.message) == (None, "")
    assert first.vectors == vectors
    calls = chain.upstream_stats()["embeddings"]["calls"]

    again = client.ask(chain.openai_url, key, words, MODEL)
    assert again.vectors == vectors
    turned = client.ask(chain.openai_url, key, words[::-1], MODEL)
    assert turned.vectors == vectors[::-1], "another batch of the same inputs"
    assert chain.upstream_stats()["embeddings"]["calls"] == calls
    assert [times_asked(chain, client.kind, word) for word in words] == [1, 1, 1]
    if client.kind.shows_headers:
        assert "Varnish; hit" in again.headers["cache-status"]
        assert again.headers["x-embedding-billed-tokens"] == turned.headers["x-embedding-billed-tokens"] == "0"
        assert int(first.headers["x-embedding-billed-tokens"]) > 0


def test_both_encodings_are_one_vector_that_is_paid_for_once(chain, client, key, other_key):
    words = fresh("encoded", "too")
    vectors = right(chain, client.kind, other_key, words)
    formats = ("base64", "float", None) if client.kind.takes_format else (None,)
    for wanted in formats:
        assert client.ask(chain.openai_url, key, words, MODEL, wanted).vectors == vectors, wanted
    assert [times_asked(chain, client.kind, word) for word in words] == [1, 1]


def test_the_page_of_clients_says_what_it_asks_for_by_itself(chain, client, key):
    assert client.ask(chain.upstream, key, fresh("direct"), MODEL).error is None
    counted = chain.upstream_stats()["embeddings"]
    assert (counted["base64_calls"], counted["float_calls"]) == ((1, 0) if client.kind.asks == "base64" else (0, 1))


def test_a_refusal_is_the_clients_own_error(chain, client, key):
    refusal = client.ask(chain.openai_url, key, fresh("nowhere"), "no-such-model")
    assert refusal.error == client.kind.not_found
    assert refusal.status in (404, None)
    assert "no-such-model" in refusal.message

    words = fresh("later")
    refuse(chain, 429, retry_after="7")
    refusal = client.ask(chain.openai_url, key, words, MODEL)
    assert refusal.error == client.kind.rate_limit
    assert refusal.status in (429, None)
    chain.behave()
    assert client.ask(chain.openai_url, key, words, MODEL).error is None, "a refusal was kept"


def test_a_retry_waits_as_long_as_the_upstream_says(chain, client, key):
    refuse(chain, 429, retry_after=str(client.kind.patience), times=1)
    started = time.monotonic()
    answer = client.ask(chain.openai_url, key, fresh("patient"), MODEL, retries=2)
    if not client.kind.retries:
        assert answer.error == client.kind.rate_limit
        return
    assert answer.error is None, answer.message
    if client.kind.obeys_retry_after:
        assert time.monotonic() - started >= client.kind.patience
    assert chain.upstream_stats()["statuses"]["429"] == 1


@pytest.mark.parametrize(("status", "should"), [(500, "false"), (400, "true")])
def test_whether_to_retry_is_the_upstreams_word(chain, client, key, status, should):
    """Where a client reads it; the page of clients names those that do not."""
    refuse(chain, status, headers={"x-should-retry": should})
    refusal = client.ask(chain.openai_url, key, fresh("word"), MODEL, retries=1)
    assert refusal.error is not None
    again = client.kind.retries and (should == "true" if client.kind.obeys_should_retry else status == 500)
    assert chain.upstream_stats()["statuses"][str(status)] == (2 if again else 1)

"""The AzureOpenAI clients of Python and Node, unchanged, at the URLs of deployments, through Envoy, Varnish and the backend."""

import uuid

import openai
import pytest
from clients import Client, Kind, Program, f32
from harness.client import send
from harness.secrets import secret

MODEL = "text-embedding-3-small"
KINDS = [
    Kind("azure-python", "python", "azure", "base64", "openai.NotFoundError", "openai.RateLimitError", shows_headers=True),
    Kind("azure-node", "node", "azure", "base64", "NotFoundError", "RateLimitError", shows_headers=True),
]


@pytest.fixture(scope="module", params=KINDS, ids=lambda kind: kind.name)
def client(request, tmp_path_factory):
    with Program(request.param.runtime, tmp_path_factory.mktemp("azure")) as program:
        yield Client(request.param, program)


def test_a_deployment_is_answered_from_every_cache(chain, client):
    inputs = [f"{name} {uuid.uuid4().hex}" for name in ("first", "second")]
    key, endpoint = secret(client.kind.name), chain.openai_url.removesuffix("/v1")
    body = {"model": MODEL, "input": inputs, "encoding_format": "base64"}
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    own = send(chain.standin, "POST", "/v1/embeddings", body, headers)
    vectors = [f32(item["embedding"]) for item in own.json["data"]]
    chain.forget_upstream_stats()

    first = client.ask(endpoint, key, inputs, MODEL)
    assert (first.error, first.message, first.vectors) == (None, "", vectors)
    again = client.ask(endpoint, key, inputs, MODEL)
    assert again.vectors == vectors
    assert "Varnish; hit" in again.headers["cache-status"]
    turned = client.ask(endpoint, key, inputs[::-1], MODEL)
    assert turned.vectors == vectors[::-1]
    assert turned.headers["x-embedding-billed-tokens"] == "0"
    assert chain.upstream_stats()["embeddings"]["calls"] == 1

    refusal = client.ask(endpoint, key, inputs, "no-such-deployment")
    assert (refusal.error, refusal.status) == (client.kind.not_found, 404)


def test_a_deployment_and_its_model_are_one_vector(chain):
    """The same header holds the key: another header is another credential."""
    word, key = uuid.uuid4().hex, secret("azure")
    endpoint = chain.openai_url.removesuffix("/v1")
    headers = {"api-key": key, "Content-Type": "application/json"}
    assert send(endpoint, "POST", "/v1/embeddings", {"model": MODEL, "input": word}, headers).status == 200
    azure = openai.AzureOpenAI(azure_endpoint=endpoint, api_key=key, api_version="2024-02-01", azure_deployment=MODEL, max_retries=0)
    answer = azure.embeddings.with_raw_response.create(model="any", input=word)
    assert answer.headers["x-embedding-billed-tokens"] == "0"
    assert chain.upstream_stats()["embeddings"]["calls"] == 1

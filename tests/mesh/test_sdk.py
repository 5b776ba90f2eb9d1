"""The official SDK through the ingress gateway, and what a client can do about the hash: nothing."""

import openai
from asking import MODEL, body_of, embed, fresh, hash_of
from cluster.gateway import HOST
from cluster.waiting import until

# Envoy writes its log once a second.
LOG_SECONDS = 120


def test_the_second_call_comes_from_varnish_and_nobody_upstream_hears_of_it(gateway, key):
    client = openai.OpenAI(base_url=f"http://{HOST}/v1", api_key=key, max_retries=0)
    words = [fresh("first"), fresh("second")]
    gateway.upstream.forget()
    miss = client.embeddings.with_raw_response.create(model=MODEL, input=words)
    assert miss.headers["x-embedding-billed-tokens"] != "0"
    hit = client.embeddings.with_raw_response.create(model=MODEL, input=words)
    assert hit.headers["cache-status"].split(", Varnish; ")[1].startswith("hit")
    assert hit.headers["x-embedding-billed-tokens"] == "0"
    assert hit.parse().data == miss.parse().data
    assert gateway.upstream.stats()["calls"] == 1


def test_everything_else_streams_through(key):
    client = openai.OpenAI(base_url=f"http://{HOST}/v1", api_key=key, max_retries=0)
    stream = client.chat.completions.create(model="gpt-4o-mini", messages=[{"role": "user", "content": "hello"}], stream=True)
    words = [chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices]
    assert len(words) > 2 and "".join(words)


def test_a_client_cannot_choose_the_hash(gateway, key):
    known, other = fresh("known"), fresh("other")
    stored = embed(known, key)
    assert embed(known, key).from_varnish
    claimed = hash_of(body_of(known))
    for name in ("x_body_hash", "X_Body_Hash"):
        answer = embed(other, key, **{name: claimed})
        assert answer.status == 200
        assert answer.body != stored.body, "an answer to another client's body"
    again = embed(other, key)
    assert again.from_varnish, "it was stored under its own hash"
    assert embed(known, key).body == stored.body, "and the other one is what it was"


def test_the_access_log_carries_the_right_hash(gateway, key):
    text = fresh("logged")
    embed(text, key, x_body_hash="0" * 64)
    expected = hash_of(body_of(text))
    (line,) = until(lambda: gateway.varnish_log(expected), LOG_SECONDS, "a line with the hash")
    assert (line["method"], line["path"], line["status"], line["host"]) == ("POST", "/v1/embeddings", 200, HOST)
    assert line["peer"].endswith("/ns/istio-system/sa/istio-ingressgateway-service-account")
    assert gateway.varnish_log("0" * 64) == []

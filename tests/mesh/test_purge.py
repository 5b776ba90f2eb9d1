"""A PURGE by the purge host ends an answer everywhere: in the backend and in every Varnish."""

import json

import pytest
from asking import ask, embed, fresh
from cluster.gateway import PURGE_HOST

PODS = ["embedding-gateway-varnish-0", "embedding-gateway-varnish-1"]


@pytest.mark.parametrize("headers", [{"X-Purge-All": "true"}, {"Surrogate-Key": "model:text-embedding-3-small"}], ids=["all", "tag"])
def test_a_purge_reaches_every_varnish_and_the_next_call_is_paid_again(gateway, key, headers):
    texts = [fresh() for _ in range(6)]
    paid = [embed(text, key).billed for text in texts]
    assert all(embed(text, key).from_varnish for text in texts)

    answer = ask("PURGE", "/v1/embeddings", headers=headers, host=PURGE_HOST)
    report = json.loads(answer.body)
    assert (answer.status, report["total"], report["success"], report["failed"]) == (200, 2, 2, 0), report
    assert sorted(result["pod"] for result in report["results"]) == PODS

    again = [embed(text, key) for text in texts]
    assert [answer.billed for answer in again] == paid
    assert not any(answer.from_varnish for answer in again)


def test_the_purge_host_only_purges():
    assert ask("GET", "/healthz", host=PURGE_HOST).status == 403
    assert ask("POST", "/v1/embeddings", b"{}", host=PURGE_HOST).status == 403


def test_the_public_host_does_not_purge(key):
    text = fresh()
    embed(text, key)
    assert ask("PURGE", "/v1/embeddings", headers={"X-Purge-All": "true"}).status == 403
    assert embed(text, key).from_varnish

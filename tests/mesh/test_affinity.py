"""Equal bodies meet in one Varnish, whichever it is; and when one is gone, the other takes its share."""

import itertools
from concurrent.futures import ThreadPoolExecutor

from asking import body_of, embed, fresh, hash_of
from cluster.gateway import NAMESPACE, VARNISH
from cluster.waiting import until
from harness.client import Answer

BODIES = 200
TIMES = 3
# At a time; two cores, and each request passes five processes.
CALLERS = 8
LOG_SECONDS = 120
WAIT_SECONDS = 120
STATEFUL_SET = f"/apis/apps/v1/namespaces/{NAMESPACE}/statefulsets/{VARNISH}"


def embed_all(texts: list[str], key: str) -> list[Answer]:
    with ThreadPoolExecutor(CALLERS) as callers:
        return list(callers.map(lambda text: embed(text, key), texts))


def homes(gateway, texts: list[str], times: int) -> dict[str, set[str]]:
    """Which pods each text's requests went to, once all of them are logged."""
    hashes = {hash_of(body_of(text)): text for text in texts}

    def all_lines():
        lines = [line for line in gateway.varnish_lines() if line["x-body-hash"] in hashes]
        return lines if len(lines) == len(texts) * times else None

    lines = until(all_lines, LOG_SECONDS, "a line for each request")
    return {text: {line["pod"] for line in lines if hashes[line["x-body-hash"]] == text} for text in texts}


def test_equal_bodies_meet_and_both_pods_work(gateway, key, record_property):
    texts = [fresh() for _ in range(BODIES)]
    answers = list(itertools.chain.from_iterable(embed_all(texts, key) for _ in range(TIMES)))
    assert {answer.status for answer in answers} == {200}
    assert [answer.from_varnish for answer in answers] == [False] * BODIES + [True] * BODIES * (TIMES - 1)

    by_text = homes(gateway, texts, TIMES)
    assert {text: pods for text, pods in by_text.items() if len(pods) != 1} == {}
    shares = {pod: sum(pods == {pod} for pods in by_text.values()) for pod in gateway.varnish_pods()}
    record_property("bodies on each Varnish pod", shares)
    assert min(shares.values()) > BODIES / 10, shares


def test_a_dead_pods_share_moves_and_nobody_sees_an_error(gateway, key, record_property):
    texts = [fresh() for _ in range(BODIES)]
    embed_all(texts, key)
    before = {text: pod for text, (pod,) in homes(gateway, texts, 1).items()}

    died = f"{VARNISH}-1"
    address = gateway.mesh.api.get(f"/api/v1/namespaces/{NAMESPACE}/pods/{died}")["status"]["podIP"]
    gateway.mesh.api.patch(STATEFUL_SET, {"spec": {"replicas": 1}})
    gateway.mesh.api.delete(f"/api/v1/namespaces/{NAMESPACE}/pods/{died}", {"gracePeriodSeconds": 0})
    try:
        until(lambda: address not in gateway.ingress().endpoints(VARNISH, 6081), WAIT_SECONDS, "the endpoint gone at the ingress")
        answers = dict(zip(texts, embed_all(texts, key), strict=True))
        moved = {text for text, pod in before.items() if pod == died}
        assert {answer.status for answer in answers.values()} == {200}
        assert {text for text, answer in answers.items() if not answer.from_varnish} == moved, "a body that kept its pod is still known"
        assert all(answers[text].billed == 0 for text in moved), "the backend knows them"
        record_property("bodies that moved", len(moved))
    finally:
        gateway.mesh.api.patch(STATEFUL_SET, {"spec": {"replicas": 2}})
        gateway.wait("two Varnish pods again")
        gateway.wait_for_varnish_at_the_ingress()

"""What OpenAI's and Azure's SDKs read of an answer's headers (sdk_headers.json) reaches the client, but for hits."""

import json
import uuid
from pathlib import Path

import pytest
from harness.client import Answer, send
from harness.secrets import secret

HEADERS = json.loads(Path(__file__).with_name("sdk_headers.json").read_text())
NAMES = [header["name"] for header in HEADERS]
OF_ONE_CALL = [header["name"] for header in HEADERS if header.get("one_call")]
# What the upstream says in them, and a client can act on.
VALUES = {name: "7" for name in NAMES} | {"content-type": "application/json", "x-should-retry": "false"}


def ask(chain, key: str, text: str) -> Answer:
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    return send(chain.url, "POST", "/v1/embeddings", {"model": "text-embedding-3-small", "input": text}, headers)


def told(answer: Answer, names: list[str]) -> dict[str, str]:
    return {name: answer.headers[name] for name in names if name in answer.headers}


@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500, 503])
def test_a_refusals_headers_reach_the_client(chain, status):
    chain.misbehave(status=status, headers=VALUES)
    answer = ask(chain, secret("headers"), f"refused {uuid.uuid4()}")
    assert answer.status == status
    assert told(answer, NAMES) == VALUES


def test_a_misss_headers_reach_the_client_and_no_hit_has_those_of_one_call(chain):
    key, text = secret("headers"), f"headers {uuid.uuid4()}"
    chain.misbehave(headers=VALUES)
    assert told(ask(chain, key, text), NAMES) == VALUES
    hit = ask(chain, key, text)
    assert hit.from_varnish
    assert told(hit, OF_ONE_CALL) == {}


def test_each_header_has_a_reader():
    assert all(header["read_by"] for header in HEADERS)
    assert len(set(NAMES)) == len(NAMES)

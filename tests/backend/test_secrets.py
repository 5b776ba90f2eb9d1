"""Keys and inputs appear nowhere: not in a log line at the most talkative level, a span, a metric, an object, or an answer.

The search for keys is that of `harness.secrets`, which every session ends with; here is something for it to find.
"""

import hashlib

import pytest
from harness import secrets
from harness.client import send
from harness.collector import Collector
from harness.waiting import eventually

CALLERS = [secrets.secret(name) for name in ("acme-1", "acme-2", "other")]
GATEWAYS_KEY = secrets.secret("gateway")
CLIENTS_KEY = secrets.secret("team-a")
ADMIN_TOKEN = secrets.secret("admin")
INPUT = "an input that must stay private"


@pytest.fixture
def exports():
    return []


@pytest.fixture
def traced(exports):
    """The variables with which a gateway traces everything."""
    with Collector(exports.append) as collector:
        yield {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "TRACE_UPSTREAM": "true"}


def exercise(gateway, keys) -> list[bytes]:
    """Every kind of request that knows a key; the answers."""
    answers = []
    for key in keys:
        for headers in ({}, {"api-key": key}, {"x-api-key": key, "openai-project": key}):
            answers.append(gateway.embed(INPUT, key=key, **headers))
            answers.append(gateway.embed(INPUT, key=key, model="no-such-model", **headers))
        authorization = {"authorization": f"Bearer {key}"}
        answers.append(send(gateway.url, "GET", "/v1/models", None, authorization))
        answers.append(send(gateway.url, "GET", "/v1/../x", None, authorization))
        answers.append(send(gateway.url, "POST", "/v1/embeddings", "{", authorization))
    answers.append(gateway.purge(ADMIN_TOKEN))
    answers.append(gateway.purge(secrets.secret("wrong")))
    assert any(answer.status == 200 for answer in answers) and any(answer.status == 401 for answer in answers)
    return [answer.body + str(answer.headers).encode() for answer in answers]


def test_keys_and_inputs_appear_nowhere(start, s3, standin, traced, exports, tmp_path):
    standin.set_keys(revoked=[CALLERS[2]])
    keys_file = secrets.given(tmp_path / "client-keys", hashlib.sha256(CLIENTS_KEY.encode()).hexdigest())
    passing = [start(**s3.variables(CACHE_SCOPE=scope, ADMIN_TOKEN=ADMIN_TOKEN, **traced)) for scope in ("credential", "organization", "shared")]
    own = start(**s3.variables(OPENAI_API_KEY=GATEWAYS_KEY, CLIENT_KEYS_FILE=str(keys_file), ADMIN_TOKEN=ADMIN_TOKEN, **traced))
    unreachable = start(OPENAI_BASE_URL="http://127.0.0.1:9/v1", ADMIN_TOKEN=ADMIN_TOKEN, **traced)

    answers = []
    for gateway in passing:
        answers += exercise(gateway, CALLERS)
        eventually(lambda gateway=gateway: gateway.stored("ok") >= 1, what="a write")
    answers += exercise(own, [CLIENTS_KEY, *CALLERS])
    unreachable.embed(INPUT, key=CALLERS[0])
    gateways = [*passing, own, unreachable]
    for gateway in gateways:
        gateway.stop()
    assert any(b"POST /v1/embeddings" in export for export in exports) and any(b"store write" in export for export in exports)
    logs = [gateway.log.read_bytes() for gateway in gateways]
    assert all(b'"level":"WARN"' in log or b'"level":"INFO"' in log for log in logs)

    for what, texts in (("an answer", answers), ("a trace", exports)):
        for text in texts:
            secrets.told(what, text)
    assert secrets.findings(tmp_path, s3.folder) == []
    stored = [path.read_bytes() for path in s3.data.rglob("*") if path.is_file()]
    for place in [*logs, *exports, *stored]:
        assert INPUT.encode() not in place

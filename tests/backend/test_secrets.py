"""Keys appear nowhere: not in a log line at the most talkative level, a span, a metric, an object, or an answer; in no encoding."""

import base64
import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from harness.waiting import eventually
from system import ACCESS_KEY, SECRET_KEY, send

CALLERS = ["sk-acme-secret-1", "sk-acme-secret-2", "sk-other-secret-3"]
GATEWAYS_KEY = "sk-acme-gateway-secret"
CLIENTS_KEY = "client-secret-of-team-a"
ADMIN_TOKEN = "token-secret-of-the-admin"
INPUT = "an input that must stay private"


class Collector(BaseHTTPRequestHandler):
    """Keeps the exports of traces, in protobuf: texts stand in it as they are."""

    exports: list[bytes] = []

    def do_POST(self) -> None:
        self.exports.append(self.rfile.read(int(self.headers["content-length"])))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_) -> None:
        pass


@pytest.fixture
def traced():
    """The variables with which a gateway traces everything."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Collector) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{server.server_port}", "TRACE_UPSTREAM": "true"}
        server.shutdown()


def spellings(secret: str) -> list[bytes]:
    """The secret as somebody might write it down."""
    digest = hashlib.sha256(secret.encode())
    encoded = [base64.b64encode(text.encode()).rstrip(b"=") for text in (secret, f"Bearer {secret}")]
    return [secret.encode(), digest.hexdigest().encode(), digest.digest(), base64.b64encode(digest.digest()), *encoded]


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
    answers.append(gateway.purge("token-secret-but-wrong"))
    assert any(answer.status == 200 for answer in answers) and any(answer.status == 401 for answer in answers)
    return [answer.body + str(answer.headers).encode() for answer in answers]


def test_keys_and_inputs_appear_nowhere(start, s3, standin, traced, tmp_path):
    standin.set_keys(revoked=[CALLERS[2]])
    keys_file = tmp_path / "client-keys"
    keys_file.write_text(hashlib.sha256(CLIENTS_KEY.encode()).hexdigest())
    passing = [start(**s3.variables(CACHE_SCOPE=scope, ADMIN_TOKEN=ADMIN_TOKEN, **traced)) for scope in ("credential", "organization", "shared")]
    own = start(**s3.variables(OPENAI_API_KEY=GATEWAYS_KEY, CLIENT_KEYS_FILE=str(keys_file), ADMIN_TOKEN=ADMIN_TOKEN, **traced))
    unreachable = start(OPENAI_BASE_URL="http://127.0.0.1:9/v1", ADMIN_TOKEN=ADMIN_TOKEN, **traced)

    seen = []
    for gateway in passing:
        seen += exercise(gateway, CALLERS)
        eventually(lambda gateway=gateway: gateway.stored("ok") >= 1, what="a write")
    seen += exercise(own, [CLIENTS_KEY, *CALLERS])
    unreachable.embed(INPUT, key=CALLERS[0])
    gateways = [*passing, own, unreachable]
    seen += [gateway.metrics().encode() for gateway in gateways]
    for gateway in gateways:
        gateway.stop()
    spans = Collector.exports
    assert any(b"POST /v1/embeddings" in export for export in spans) and any(b"store write" in export for export in spans)
    logs = [gateway.log.read_bytes() for gateway in gateways]
    assert all(b'"level":"WARN"' in log or b'"level":"INFO"' in log for log in logs)
    files = [path for path in s3.data.rglob("*") if path.is_file()]
    stored = [path.read_bytes() for path in files] + [str(path).encode() for path in files]

    for secret in [*CALLERS, GATEWAYS_KEY, CLIENTS_KEY, ADMIN_TOKEN]:
        for spelling in spellings(secret):
            for place in [*seen, *logs, *spans, *stored]:
                assert spelling not in place, f"{secret} as {spelling!r}"
    for place in [*logs, *spans, *stored]:
        assert INPUT.encode() not in place
    for place in [*seen, *logs, *spans]:
        for secret in (SECRET_KEY, ACCESS_KEY):
            assert f'"{secret}"'.encode() not in place

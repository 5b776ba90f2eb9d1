"""/metrics, as Prometheus's own programs read it."""

import json
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from harness.client import send
from harness.paths import TOOLS
from harness.waiting import eventually
from prometheus_client import parser
from prometheus_client.openmetrics.parser import text_string_to_metric_families

PROMTOOL = TOOLS / "bin/promtool"
# Everything that could break out of a label, or out of a line.
STRANGE_MODEL = 'mo"del}\\ 1\n# EOF\r\u2028é'


class TakesAnyModel(BaseHTTPRequestHandler):
    """An upstream that takes any model and knows one vector."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        data = [{"index": index, "embedding": [1.0]} for index, _ in enumerate(asked["input"])]
        answer = json.dumps({"data": data, "usage": {"prompt_tokens": len(data)}}).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_) -> None:
        pass


@pytest.fixture(scope="module")
def upstream():
    with ThreadingHTTPServer(("127.0.0.1", 0), TakesAnyModel) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v1"
        server.shutdown()


def samples(families) -> dict:
    """By name and labels. A counter's name is its sample's, whatever its family is called."""
    return {(sample.name, tuple(sorted(sample.labels.items()))): sample.value for family in families for sample in family.samples}


@pytest.fixture
def used(start, s3, upstream):
    """A gateway that has something of everything to tell."""
    gateway = start(**s3.variables(OPENAI_BASE_URL=upstream))
    bodies = [{"model": model, "input": ["one", "two", "two"]} for model in ("usual", "usual", STRANGE_MODEL)]
    statuses = [send(gateway.url, "POST", "/v1/embeddings", body).status for body in bodies]
    statuses += [send(gateway.url, "GET", path).status for path in ("/v1/models", "/elsewhere")]
    assert statuses == [200, 200, 200, 501, 404]
    return gateway


def test_the_page_is_open_metrics(used):
    answer = send(used.url, "GET", "/metrics")
    assert answer.headers["content-type"] == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    found = samples(text_string_to_metric_families(answer.body.decode()))
    prefix = "embedding_gateway_"
    assert found[f"{prefix}inputs_total", (("outcome", "memory"),)] == 2
    assert found[f"{prefix}inputs_total", (("outcome", "repeat"),)] == 3
    assert found[f"{prefix}nominal_tokens_total", (("model", STRANGE_MODEL),)] > 0
    assert found[f"{prefix}request_duration_seconds_count", (("route", "embeddings"),)] == 3
    assert found[f"{prefix}request_duration_seconds_bucket", (("le", "+Inf"), ("route", "embeddings"))] == 3
    assert all(name.startswith(prefix) for name, _ in found)


def test_the_older_format_is_clean_and_says_the_same(used):
    eventually(lambda: used.metric("embedding_gateway_store_writes_pending ") == 0, what="the writes")
    older = send(used.url, "GET", "/metrics", None, {"accept": "text/plain"})
    assert older.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    checked = subprocess.run([PROMTOOL, "check", "metrics"], input=older.body, capture_output=True, timeout=300)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")
    found = samples(parser.text_string_to_metric_families(older.body.decode()))
    newer = samples(text_string_to_metric_families(used.metrics()))
    assert found == newer


def test_prometheus_gets_open_metrics(start):
    """Of what Prometheus says that it accepts."""
    accept = "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
    answer = send(start().url, "GET", "/metrics", None, {"accept": accept})
    assert answer.headers["content-type"].startswith("application/openmetrics-text")

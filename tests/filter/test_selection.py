"""`hosts` and `pathPrefixes`: what is not selected is never held or hashed, and still carries no forged header."""

import pytest
from harness import http1, http2

from .attachments import HEADER, chain
from .expectations import assert_hashed, assert_unhashed

FORGED = [(HEADER, "f" * 64)]


@pytest.fixture
def selective(start, module, attachment):
    return start(chain(attachment, module, hosts=["api.local", "*.wild.local"], pathPrefixes=["/v1/embeddings", "/v2/"]))


def post(port: int, host: str, path: str):
    with http1.Connection(port) as connection:
        connection.send_head("POST", path, [*FORGED, ("Content-Length", "4")], host=("Host", host))
        connection.send(b"body")
        return connection.read_response()


@pytest.mark.natively(host=["any.wild.local"], path=["/v1/embeddings?x=1"])
@pytest.mark.parametrize("host", ["api.local", "API.Local", "api.local:8080", "any.wild.local"])
@pytest.mark.parametrize("path", ["/v1/embeddings", "/v1/embeddings?x=1", "/v1/embeddings/more", "/v2/any"])
def test_what_is_selected_is_hashed(selective, host, path):
    assert_hashed(post(selective.port, host, path), b"body")


@pytest.mark.natively(host=["api.local.evil"])
@pytest.mark.parametrize(
    ("host", "path"),
    [
        ("api.local", "/"),
        ("api.local", "/v1"),
        ("api.local", "/v1/embeddingsandmore"),
        ("api.local", "/?/v1/embeddings"),
        ("api.local", "/V1/EMBEDDINGS"),
        ("api.local.evil", "/v1/embeddings"),
        ("evil-api.local", "/v1/embeddings"),
        ("wild.local", "/v1/embeddings"),
        ("evilwild.local", "/v1/embeddings"),
        ("test.local", "/v1/embeddings"),
    ],
)
def test_what_is_not_selected_has_no_header(selective, host, path):
    with selective.counting() as counted:
        response = post(selective.port, host, path)
    assert_unhashed(response, b"body")
    assert counted == {"skipped.not_selected": 1}


def test_what_is_not_selected_is_never_held(start, module, attachment):
    gateway = start(chain(attachment, module, pathPrefixes=["/v1"], stallTimeout=3_600_000))
    with http2.Connection(gateway.port) as connection:
        stream = connection.open("POST", "/echo", FORGED)
        connection.data(stream, b"ping")
        connection.wait_body(stream, 4)

"""A filter before ours that refuses is obeyed: nothing is held for it, nothing reaches the upstream."""

from harness import http1, http2
from harness.envoy_config import http_filter

from .attachments import HEADER, PAIR, chain
from .expectations import assert_hashed, body_of

# Refuses what bears the header x-refused.
REFUSING = http_filter(
    "rbac.v3.RBAC",
    rules={
        "action": "DENY",
        "policies": {"refused": {"permissions": [{"header": {"name": "x-refused", "present_match": True}}], "principals": [{"any": True}]}},
    },
)
REFUSED = [("x-refused", "1"), (HEADER, "f" * 64)]


def assert_refused(gateway) -> None:
    gateway.origin.take_received()
    with gateway.counting() as counted:
        for client in (http1, http2):
            for body in (b"body", body_of(2 << 20), None):
                assert client.request(gateway.port, "POST", "/", REFUSED, body).status == 403
        with http1.Connection(gateway.port) as connection:
            connection.send_head("POST", "/", [*REFUSED, ("Content-Length", "10")])
            assert connection.read_response().status == 403
            assert gateway.held() == 0
    assert counted == {}
    assert gateway.origin.take_received() == []
    assert_hashed(http1.request(gateway.port, "POST", body=b"allowed"), b"allowed")


def test_a_refusal_before_the_filter_is_obeyed(start, module, attachment):
    assert_refused(start([REFUSING, *chain(attachment, module)]))


def test_a_refusal_between_the_twins_is_obeyed(start, module):
    assert_refused(start(chain(PAIR, module, between=[REFUSING])))

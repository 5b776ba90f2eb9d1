"""What a request must look like when it reaches the upstream."""

import hashlib
from functools import lru_cache

from harness.received import Received, Response

from .attachments import HEADER


@lru_cache(32)
def body_of(size: int) -> bytes:
    """A body of this size in which no two places of a chunk's length are alike."""
    block = hashlib.sha256(b"body").digest()
    blocks = [block := hashlib.sha256(block).digest() for _ in range(min(size, 65536) // 32 + 1)]
    whole = b"".join(blocks)
    return (whole * (size // len(whole) + 1))[:size]


def assert_arrived(response: Response, body: bytes) -> Received:
    """The body reached the upstream unchanged and the client got its answer."""
    assert response.status == 200, (response.status, response.body[:200])
    received = response.received()
    assert (received.length, received.sha256) == (len(body), hashlib.sha256(body).hexdigest())
    return received


def assert_hashed(response: Response, body: bytes, header: str = HEADER) -> Received:
    """The upstream got the body with exactly one hash, the right one."""
    received = assert_arrived(response, body)
    assert received.values(header) == [hashlib.sha256(body).hexdigest()]
    return received


def assert_unhashed(response: Response, body: bytes = b"", header: str = HEADER) -> Received:
    """The upstream got the body and no hash at all."""
    received = assert_arrived(response, body)
    assert received.values(header) == []
    return received

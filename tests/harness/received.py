"""What an HTTP message was when it arrived: headers as pairs in order, names and values as latin-1 text (one byte, one character)."""

import json
from dataclasses import dataclass, field

Pairs = list[tuple[str, str]]


def values(pairs: Pairs, name: str) -> list[str]:
    """Every value of one header, in order; names are compared without case."""
    return [value for key, value in pairs if key.lower() == name.lower()]


@dataclass
class Response:
    """What a client got."""

    status: int
    headers: Pairs
    body: bytes = b""
    trailers: Pairs = field(default_factory=list)
    interim: list[int] = field(default_factory=list)

    def values(self, name: str) -> list[str]:
        return values(self.headers, name)

    def received(self) -> "Received":
        """The request as the origin describes it in its answer."""
        return Received.from_json(self.body)


@dataclass
class Received:
    """What the origin got."""

    protocol: str
    method: str
    path: str
    authority: str
    headers: Pairs
    length: int
    sha256: str
    trailers: Pairs
    complete: bool

    @classmethod
    def from_json(cls, text: bytes | str) -> "Received":
        return cls(**json.loads(text))

    def values(self, name: str) -> list[str]:
        return values(self.headers, name)

"""Two callers in test_chaos.py whose vectors differ, what they ask, and the only answers that are right."""

import base64
import json
import random
import struct
import threading
from dataclasses import dataclass, field

from harness.client import send
from harness.secrets import secret
from harness.standin import Standin

MODEL = "text-embedding-3-small"
DIMENSIONS = 8
TEXTS = [f"text {number}" for number in range(60)]
LARGEST_BATCH = 12
JSON = {"content-type": "application/json"}


@dataclass(frozen=True)
class Asked:
    """One request; `least` is the oldest generation that may answer it."""

    key: str
    texts: list[str]
    body: bytes
    headers: dict[str, str]
    least: int


class Truth:
    """Which vectors the upstream gives: it is asked itself, in a process of its own that no fault strikes."""

    def __init__(self, oracle: Standin, upstream: Standin) -> None:
        self.keys = [secret("chaos-one"), secret("chaos-two")]
        self._oracle, self._upstream = oracle, upstream
        self._generations: dict[tuple[str, str, bytes], int] = {}
        self._lock = threading.Lock()
        self.generation = -1
        # The last generation that a purge was acknowledged for.
        self.heard = 0
        self.renew()

    def renew(self) -> None:
        """From now on the upstream gives other vectors."""
        generation = self.generation + 1
        self._set(self._oracle, generation)
        for key in self.keys:
            answer = send(self._oracle.url, "POST", "/v1/embeddings", body(TEXTS, "base64"), JSON | bearer(key))
            for text, item in zip(TEXTS, answer.json["data"], strict=True):
                self._generations[key, text, base64.b64decode(item["embedding"])] = generation
        self._set(self._upstream, generation)
        self.generation = generation

    @staticmethod
    def _set(standin: Standin, generation: int) -> None:
        assert send(standin.url, "PUT", "/vectors", {"generation": generation, "by_key": True}, JSON).status == 200

    def question(self, chosen: random.Random) -> Asked:
        key, texts = chosen.choice(self.keys), chosen.choices(TEXTS, k=chosen.randint(1, LARGEST_BATCH))
        further = chosen.choices([{}, {"cache-control": "no-cache"}, {"cache-control": "no-store"}], [18, 1, 1])[0]
        encoding = chosen.choice(["float", "base64"])
        return Asked(key, texts, body(texts, encoding), JSON | bearer(key) | further, self.heard)

    def faults_of(self, asked: Asked, answer: bytes) -> list[str]:
        """What is wrong with an answer of 200."""
        data = json.loads(answer)["data"]
        if [item["index"] for item in data] != list(range(len(asked.texts))):
            return [f"{len(data)} vectors for {len(asked.texts)} texts, or in disorder"]
        found = [fault for text, item in zip(asked.texts, data, strict=True) if (fault := self._fault(asked, text, item))]
        return found

    def _fault(self, asked: Asked, text: str, item: dict) -> str | None:
        vector = as_bytes(item["embedding"])
        generation = self._generations.get((asked.key, text, vector))
        if generation is None:
            foreign = any((key, text, vector) in self._generations for key in self.keys)
            return f"{text!r}: {'the other tenant' if foreign else 'no tenant'}'s vector"
        if generation < asked.least:
            return f"{text!r}: generation {generation}, though {asked.least} was purged for"
        return None


def body(texts: list[str], encoding: str) -> bytes:
    asked = {"model": MODEL, "input": texts, "dimensions": DIMENSIONS, "encoding_format": encoding}
    return json.dumps(asked).encode()


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


def as_bytes(vector: str | list[float]) -> bytes:
    if isinstance(vector, str):
        return base64.b64decode(vector, validate=True)
    return struct.pack(f"<{len(vector)}f", *vector)


@dataclass
class Seen:
    """What came back, over all clients."""

    right: int = 0
    refused: int = 0
    broken: int = 0
    hung_up: int = 0
    purged: int = 0
    slowest: float = 0.0
    wrong: list[str] = field(default_factory=list)
    late: list[str] = field(default_factory=list)

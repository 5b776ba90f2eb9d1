"""Clients that never stop: honest ones, whose every answer is checked, and hostile ones, who claim another body's hash."""

import json
import threading
import time
from collections import Counter
from dataclasses import dataclass, field

from asking import body_of, embed, fresh, fresh_key, hash_of
from cluster.waiting import until
from harness.client import TIMEOUT_SECONDS

HONEST, HOSTILE = 4, 2
TEXTS = 40
REQUESTS_SECONDS = 120


@dataclass
class Tally:
    """What the honest clients met."""

    statuses: Counter = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    slowest: float = 0.0
    hostile: int = 0


class Load:
    """Runs within its `with`; `tally` may be read after it. All use one credential, so that only the hash keeps them apart."""

    def __init__(self, hostile: bool = False) -> None:
        self.key = fresh_key()
        self.texts = [fresh() for _ in range(TEXTS)]
        # Whose hashes the hostile clients claim. Nobody asks for them before the load has ended.
        self.victims = [fresh("victim") for _ in range(TEXTS)]
        self.tally = Tally()
        self._vectors = {text: vector_of(embed(text, self.key).body) for text in self.texts}
        self._ended = threading.Event()
        clients = [self._be_honest] * HONEST + [self._be_hostile] * (HOSTILE if hostile else 0)
        self._threads = [threading.Thread(target=client, args=(number,), daemon=True) for number, client in enumerate(clients)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def wait_for(self, requests: int) -> None:
        """Until the honest clients have had so many more answers."""
        enough = self.tally.statuses.total() + requests
        until(lambda: self.tally.statuses.total() >= enough, REQUESTS_SECONDS, f"{requests} more requests")

    def _be_honest(self, number: int) -> None:
        while not self._ended.is_set():
            for text in self.texts[number::HONEST]:
                self._ask_and_check(text)

    def _ask_and_check(self, text: str) -> None:
        began = time.monotonic()
        try:
            answer = embed(text, self.key)
        except OSError as failure:
            self.tally.failures.append(repr(failure))
            return
        finally:
            self.tally.slowest = max(self.tally.slowest, time.monotonic() - began)
        self.tally.statuses[answer.status] += 1
        if answer.status == 200 and vector_of(answer.body) != self._vectors[text]:
            self.tally.wrong.append(text)

    def _be_hostile(self, number: int) -> None:
        """Bodies of its own under the hashes of others, in the hope to be stored there."""
        while not self._ended.is_set():
            for text in self.victims:
                try:
                    embed(fresh("hostile"), self.key, x_body_hash=hash_of(body_of(text)))
                except OSError:
                    continue
                self.tally.hostile += 1


def vector_of(body: bytes) -> list[float] | None:
    """The vector of an answer, None of what is none."""
    try:
        return json.loads(body)["data"][0]["embedding"]
    except (ValueError, KeyError, TypeError):
        return None


def assert_unharmed(tally: Tally) -> None:
    """No wrong answer, no error, no hang."""
    assert tally.statuses.total() > 0
    assert tally.wrong == []
    assert tally.failures == []
    assert set(tally.statuses) == {200}, tally.statuses
    assert tally.slowest < TIMEOUT_SECONDS / 2, tally.slowest

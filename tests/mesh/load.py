"""What clients ask of the mesh all the time: honest ones, whose every answer is checked, and hostile ones, who claim another body's hash."""

import json
import random

from asking import body_of, embed, fresh, fresh_key, hash_of
from cluster.gateway import HOST
from harness import load
from harness.client import TIMEOUT_SECONDS
from harness.load import Question, Tally

HONEST, HOSTILE = 4, 2
# Of all clients of a kind together. As fast as they can they would take the processors from what is to be replaced.
HONEST_PER_SECOND, HOSTILE_PER_SECOND = 100, 25
TEXTS = 40
REQUESTS_SECONDS = 120


class Load:
    """Runs within its `with`; `tally` is the honest clients'. All use one credential, so that only the hash keeps them apart."""

    def __init__(self, hostile: bool = False) -> None:
        self.key = fresh_key()
        self.texts = [fresh() for _ in range(TEXTS)]
        # Whose hashes the hostile clients claim. No client asks for them before the load has ended.
        self.victims = [fresh("victim") for _ in range(TEXTS)]
        right = {text: [vector_of(embed(text, self.key).body)] for text in self.texts}
        self._honest = [Question.of(body_of(text), self.key, vectors) for text, vectors in right.items()]
        self._loads = [_clients(self._ask_honestly, HONEST, HONEST_PER_SECOND)]
        if hostile:
            self._loads.append(_clients(self._claim_a_hash, HOSTILE, HOSTILE_PER_SECOND))

    @property
    def tally(self) -> Tally:
        return self._loads[0].tally

    def __enter__(self) -> "Load":
        for each in self._loads:
            each.__enter__()
        return self

    def __exit__(self, *details) -> None:
        for each in self._loads:
            each.__exit__(*details)

    def wait_for(self, requests: int) -> None:
        """Until the honest clients have had so many more right answers."""
        self._loads[0].wait_for(requests, REQUESTS_SECONDS)

    def _ask_honestly(self, chosen: random.Random) -> Question:
        return chosen.choice(self._honest)

    def _claim_a_hash(self, chosen: random.Random) -> Question:
        """A body of its own under the hash of another, in the hope to be stored there."""
        victim = chosen.choice(self.victims)
        return Question.of(body_of(fresh("hostile")), self.key, None, x_body_hash=hash_of(body_of(victim)))


def _clients(choose, count: int, per_second: int) -> load.Load:
    # A new connection meets what was just configured.
    return load.Load(f"http://{HOST}", choose, clients=count, per_second=per_second, keep_alive=False)


def vector_of(body: bytes) -> list[float] | None:
    """The vector of an answer, None of what is none."""
    try:
        return json.loads(body)["data"][0]["embedding"]
    except (ValueError, KeyError, TypeError):
        return None


def assert_unharmed(tally: Tally) -> None:
    """No wrong answer, no error, no hang."""
    assert tally.right > 0
    assert (tally.wrong, tally.failed) == ([], [])
    assert tally.slowest < TIMEOUT_SECONDS / 2, tally.slowest

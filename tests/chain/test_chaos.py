"""Everything at once for some time: whatever happens, no wrong vector, no other tenant's, none from before a purge; and an end.

CHAOS_SECONDS is how long it lasts, CHAOS_SEED what happens: a number, or `random`. The seed is printed, and a run with
it makes the same choices. Without one it is a seed that once found a fault.
"""

import os
import random
import socket
import threading
import time
from urllib.parse import urlsplit

import pytest
from faults import Faults
from harness.cgroup import cgroup
from harness.client import send
from harness.secrets import used_in_headers
from harness.standin import Standin
from harness.waiting import eventually
from parts import Parts
from tenants import TEXTS, Asked, Seen, Truth, bearer, body

SECONDS = int(os.environ.get("CHAOS_SECONDS", "40"))
# A gateway that starts with a wrong clock while its store is gone: the vectors of that time outlived a purge.
FOUND_SOMETHING = "544512246"
CHOSEN = os.environ.get("CHAOS_SEED") or FOUND_SOMETHING
SEED = random.SystemRandom().randrange(10**9) if CHOSEN == "random" else int(CHOSEN)
CLIENTS = 6
# The backend's container in kustomize/overlays/dev.
MEMORY_BYTES = 768 << 20
# What each part waits at most, and a loaded machine's share of it.
REQUEST_SECONDS = 90
HANGS_UP = 0.08
RECOVERY_SECONDS = 60
STORY_LINES = 40


@pytest.fixture(scope="module")
def chaos_folder(public_folder):
    folder = public_folder / "chaos"
    folder.mkdir()
    return folder


@pytest.fixture(scope="module")
def group():
    with cgroup(MEMORY_BYTES) as made:
        yield made


@pytest.fixture(scope="module")
def parts(chaos_folder, group):
    running = Parts(chaos_folder / "parts", within=group, RUST_LOG="info", **Faults.clock_variables(chaos_folder / "clock"))
    yield running
    running.stop()


@pytest.fixture(scope="module")
def truth(chaos_folder, parts):
    oracle = Standin(chaos_folder / "oracle")
    yield Truth(oracle, parts.standin)
    oracle.stop()


class Crowd:
    """Clients that ask without a pause, and an operator who purges after each change of the upstream's model."""

    def __init__(self, parts: Parts, truth: Truth) -> None:
        self.seen = Seen()
        self._parts, self._truth = parts, truth
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._ask_on, args=(f"{SEED} {number}",)) for number in range(CLIENTS)]
        self._threads.append(threading.Thread(target=self._purge_on))

    def __enter__(self) -> "Crowd":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _ask_on(self, seed: str) -> None:
        chosen = random.Random(seed)
        while not self._ended.is_set():
            asked = self._truth.question(chosen)
            if chosen.random() < HANGS_UP:
                self._hang_up(asked, chosen.uniform(0, 0.3))
            else:
                self._ask(asked)
            self._ended.wait(chosen.expovariate(50))

    def _hang_up(self, asked: Asked, after: float) -> None:
        address = urlsplit(self._parts.url)
        try:
            with socket.create_connection((address.hostname, address.port), REQUEST_SECONDS) as connection:
                head = "".join(f"{name}: {value}\r\n" for name, value in asked.headers.items())
                start = f"POST /v1/embeddings HTTP/1.1\r\nhost: chaos\r\ncontent-length: {len(asked.body)}\r\n{head}\r\n"
                connection.sendall(start.encode() + asked.body)
                self._ended.wait(after)
        except OSError:
            pass
        self.seen.hung_up += 1

    def _ask(self, asked: Asked) -> None:
        began = time.monotonic()
        wrong, late, right, refused, broken = [], [], 0, 0, 0
        try:
            answer = send(self._parts.url, "POST", "/v1/embeddings", asked.body, asked.headers, timeout=REQUEST_SECONDS)
            if answer.status == 200:
                wrong = self._truth.faults_of(asked, answer.body)
                wrong = [f"{fault}; {answer.cache_status}" for fault in wrong]
                right = not wrong
            else:
                refused = 1
        except TimeoutError:
            late = [f"{len(asked.texts)} texts"]
        except OSError:
            broken = 1
        took = time.monotonic() - began
        with self._lock:
            self.seen.right += right
            self.seen.refused += refused
            self.seen.broken += broken
            self.seen.wrong += wrong
            self.seen.late += late
            self.seen.slowest = max(self.seen.slowest, took)

    def _purge_on(self) -> None:
        chosen = random.Random(f"{SEED} purges")
        while not self._ended.wait(chosen.uniform(0.2, 1.5)):
            self._truth.renew()
            purge(self._parts, self._truth, self.seen, chosen)


def purge(parts: Parts, truth: Truth, seen: Seen, chosen: random.Random) -> bool:
    """Whether every part has heard it; from then on nothing older than this generation is right."""
    generation = truth.generation
    headers = chosen.choice([{}, {"x-purge-all": "true"}, {"surrogate-key": "model:text-embedding-3-small"}])
    answer = send(parts.broadcaster_url, "PURGE", "/v1/embeddings", None, headers, timeout=REQUEST_SECONDS)
    if answer.status != 200:
        return False
    truth.heard = generation
    seen.purged += 1
    return True


def answers_rightly(parts: Parts, truth: Truth, key: str) -> bool:
    try:
        asked = Asked(key, TEXTS, body(TEXTS, "base64"), {"content-type": "application/json"} | bearer(key), truth.heard)
        answer = send(parts.url, "POST", "/v1/embeddings", asked.body, asked.headers)
    except OSError:
        return False
    return answer.status == 200 and truth.faults_of(asked, answer.body) == []


@pytest.mark.timeout(SECONDS + 8 * REQUEST_SECONDS)
def test_whatever_happens_vectors_are_right_purges_are_heard_and_requests_end(parts, truth, group, chaos_folder):
    print(f"CHAOS_SEED={SEED} CHAOS_SECONDS={SECONDS}")
    used_in_headers({"authorization": truth.keys[0]})
    faults = Faults(parts, chaos_folder / "clock", random.Random(f"{SEED} faults"))
    ends = time.monotonic() + SECONDS
    with Crowd(parts, truth) as crowd:
        while time.monotonic() < ends:
            faults.one()
        faults.mend()
    seen, story = crowd.seen, "\n".join(faults.told[-STORY_LINES:])
    print(seen, f"at most {group.peak >> 20} MiB" if group else "no control group", *faults.told, sep="\n")

    assert seen.wrong == [], story
    assert seen.late == [], story
    assert parts.ended() == [], story
    eventually(lambda: purge(parts, truth, seen, random.Random(SEED)), RECOVERY_SECONDS, f"a purge; {story}", interval=0.2)
    for key in truth.keys:
        eventually(lambda: answers_rightly(parts, truth, key), RECOVERY_SECONDS, f"right answers; {story}", interval=0.2)  # noqa: B023
    assert seen.right > 0

"""A load with something of everything, which keeps its own books."""

import json
import re
import threading
import time
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from harness import http1
from harness.chain import Chain
from harness.client import Answer, send
from harness.secrets import secret

MODEL = "text-embedding-3-small"
# Every input costs the same, and so does every request: then even the estimate of what Varnish saves is exact.
BATCH = 5
TOKENS_AN_INPUT = 10
DIMENSIONS = 256
HEADERS = {"Authorization": f"Bearer {secret('load')}", "Content-Type": "application/json"}
THREADS = 4
ROUNDS = 60
ROUND_SECONDS = 1.0
# What a client pauses for in mid-body: longer than a scrape's interval, shorter than the filter's patience of a second.
PAUSE_SECONDS = 0.6
# The filter's cap, and one byte.
TOO_LARGE = (1 << 20) + 1


def _text(run: str, number: int) -> str:
    """An input of 40 bytes: ten tokens of the stand-in, which takes four bytes for one."""
    return f"{run} {number:031d}"


class Load:
    """Requests through the front of a chain, and how many of each kind there were."""

    def __init__(self, chain: Chain) -> None:
        self.chain = chain
        self.run = uuid.uuid4().hex[:8]
        # Where the gateway finds what it has: after a restart in the store, and from then on in memory.
        self.tier = "memory"
        self.books: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._next = 0

    def fresh(self, count: int = BATCH) -> list[str]:
        """Inputs that no request has asked for."""
        with self._lock:
            self._next += count
            return [_text(self.run, number) for number in range(self._next - count, self._next)]

    def embed(self, inputs: list[str], *, expect: int = 200) -> None:
        """One embeddings request; its answer is entered in the books by what its Cache-Status says."""
        answer = self._send("POST", "/v1/embeddings", {"model": MODEL, "input": inputs, "dimensions": DIMENSIONS})
        assert answer.status == expect, answer.status
        with self._lock:
            self._enter(answer.status, answer.cache_status, len(inputs), len(set(inputs)))

    def _enter(self, status: int, cache_status: str, inputs: int, distinct: int) -> None:
        books = self.books
        # What the filter does not hash, Varnish does not look up: a body that stalled, on a machine that did.
        bypassed = "Varnish; fwd=bypass" in cache_status
        books["filter stalled" if bypassed else "filter hashed"] += 1
        if "Varnish; hit" in cache_status:
            books["varnish hit"] += 1
            books["tokens saved by Varnish"] += inputs * TOKENS_AN_INPUT
            return
        books["varnish pass" if bypassed else "varnish miss"] += 1
        books[f"embeddings {status}"] += 1
        if status != 200:
            books[f"upstream {status}"] += 1
            return
        books["repeat"] += inputs - distinct
        books["tokens nominal"] += inputs * TOKENS_AN_INPUT
        gateway = next(part for part in cache_status.split(", ") if part.startswith("embedding-gateway"))
        kinds = dict(pair.split("=") for pair in gateway.partition('detail="')[2].rstrip('"').split() if "=" in pair)
        if kinds:
            hits, collapsed, misses = (int(kinds[name]) for name in ("hits", "collapsed", "misses"))
        else:
            hits = distinct if gateway.startswith("embedding-gateway; hit") else 0
            collapsed = distinct if "collapsed" in gateway else 0
            misses = distinct - hits - collapsed
        books[self.tier] += hits
        books["collapsed"] += collapsed
        books["miss"] += misses
        books["upstream 200"] += misses > 0
        books["tokens billed"] += misses * TOKENS_AN_INPUT

    def together(self, inputs: list[str]) -> None:
        """Two requests at one moment that share a slow miss: one pays for it, both get it."""
        self.chain.misbehave(delay_ms=700, when={"input": inputs[0]})
        others = self.fresh(2 * (len(inputs) - 1))
        batches = [[inputs[0], *others[: len(inputs) - 1]], [inputs[0], *others[len(inputs) - 1 :]]]
        with ThreadPoolExecutor(len(batches)) as pool:
            list(pool.map(self.embed, batches))
        self.chain.behave()

    def refused(self, status: int) -> None:
        """The upstream answers with an error, which is passed on."""
        inputs = self.fresh()
        self.chain.misbehave(status=status, when={"input": inputs[0]})
        self.embed(inputs, expect=status)
        self.chain.behave()

    def waits(self) -> None:
        """The upstream refuses a call's rate and says for how long: the gateway waits and asks again."""
        inputs = self.fresh()
        self.chain.misbehave(status=429, headers={"retry-after-ms": "200"}, times=1, when={"input": inputs[0]})
        self.embed(inputs)
        self.chain.behave()
        self._count("upstream 429")

    def purge(self) -> None:
        """What was never stored is forgotten everywhere: a purge that changes nothing."""
        broadcaster = re.search(r"-X PURGE (http://\S+?)/", self.chain.output).group(1)
        assert send(broadcaster, "PURGE", "/v1/embeddings", headers={"Surrogate-Key": "model:unknown"}).status == 200
        self._count("purge 200")

    def chat(self) -> None:
        message = {"role": "user", "content": "hi"}
        answer = self._send("POST", "/v1/chat/completions", {"model": "gpt-4o-mini", "messages": [message]})
        assert answer.status == 200
        self._count("filter hashed", "varnish pass", "passthrough 200")

    def models(self) -> None:
        assert self._send("GET", "/v1/models").status == 200
        self._count("filter no_body", "varnish pass", "passthrough 200")

    def too_large(self) -> None:
        """A body over the filter's cap goes on without a hash, and so past Varnish."""
        assert self._send("POST", "/v1/files", b"x" * TOO_LARGE).status == 200
        self._count("filter too_large", "varnish pass", "passthrough 200")

    def held(self) -> None:
        """A client that pauses in mid-body, for less than the filter's patience."""
        inputs = self.fresh()
        body = json.dumps({"model": MODEL, "input": inputs, "dimensions": DIMENSIONS}).encode()
        with http1.Connection(int(self.chain.url.rpartition(":")[2])) as connection:
            connection.send_head("POST", "/v1/embeddings", [*HEADERS.items(), ("Content-Length", str(len(body)))])
            connection.send(body[:10])
            # As a slow client does; a scrape in the meantime finds the request held.
            time.sleep(PAUSE_SECONDS)
            connection.send(body[10:])
            answer = connection.read_response()
        with self._lock:
            self._enter(answer.status, ", ".join(answer.values("cache-status")), len(inputs), len(inputs))

    def _count(self, *names: str) -> None:
        with self._lock:
            self.books.update(names)

    def _send(self, method: str, path: str, body: bytes | dict | None = None) -> Answer:
        return send(self.chain.url, method, path, body, HEADERS)


def remember(chain: Chain, batches: int) -> list[list[str]]:
    """Has so many batches paid for and written to the store; returns them."""
    load = Load(chain)
    paid = [load.fresh() for _ in range(batches)]
    for inputs in paid:
        load.embed(inputs)
    return paid


def earn_hits(chain: Chain) -> None:
    """One call, in no books: a restart forgets which keys the upstream takes, and knows no model's counters.

    As small as can be: increase() extrapolates to before its range, but never to below zero.
    """
    load = Load(chain)
    load.embed(load.fresh(1))


def run(chain: Chain, stored: list[list[str]]) -> Counter[str]:
    """The whole load on a chain where the key has its hits, with `stored` in its store; returns the books."""
    load = Load(chain)
    load.tier = "store"
    for inputs in stored:
        load.embed(inputs)
    load.tier = "memory"
    with ThreadPoolExecutor(THREADS) as pool:
        for number in range(ROUNDS):
            due = time.monotonic() + ROUND_SECONDS
            for done in [pool.submit(task, *arguments) for task, *arguments in _round(load, stored, number)]:
                done.result()
            _odd_ones(load, number)
            time.sleep(max(0.0, due - time.monotonic()))
    return load.books


def _round(load: Load, stored: list[list[str]], number: int) -> list[tuple]:
    """What happens in every round: repeats for Varnish, known inputs in other batches, new ones, other calls."""
    again = [(load.embed, stored[(number + place) % len(stored)]) for place in range(8 + number % 5)]
    shuffled = [stored[(number + place) % len(stored)][place] for place in range(BATCH)]
    partly = [*load.fresh(2), *stored[number % len(stored)][:3]]
    new = load.fresh(BATCH - 1)
    return [*again, (load.embed, shuffled), (load.embed, partly), (load.embed, [*new, new[0]]), (load.chat,), (load.models,)]


def _odd_ones(load: Load, number: int) -> None:
    """What happens now and then."""
    if number % 10 == 3:
        load.together(load.fresh())
    if number % 10 == 5:
        load.refused(500 if number % 20 == 5 else 429)
    if number % 10 == 7:
        load.too_large()
        load.waits()
    if number % 5 == 2:
        load.held()
    if number % 5 == 4:
        load.purge()

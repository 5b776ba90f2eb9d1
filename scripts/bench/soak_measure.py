"""A soak: the chain under a steady mixed load, while memory, descriptors, threads and stores are sampled.

The tiers are small, so that they are full when the first third is over: from then on all must stay flat, or the program
exits 1. The samples stand in docs/benchmarks/soak.csv, and the picture of them beside it.
"""

import csv
import itertools
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import plot
from harness.client import send
from harness.load import Load, Question
from harness.paths import ROOT
from harness.secrets import secret
from soak_watch import Column, grows, of_gateway, of_process, of_varnish, third

sys.path.insert(0, str(ROOT / "tests/chain"))
from parts import Parts  # noqa: E402 (it stands beside the tests of the chain)

SECONDS = int(os.environ["BENCH_SECONDS"])
# A small machine's share while others use it; a leak is one for each request, not for each second.
PER_SECOND = 20
CLIENTS = 8
SAMPLES = 120
# Every so many samples.
PURGE_EVERY = 10
TIERS = {"MEMORY_CACHE_BYTES": "4MiB", "RUST_LOG": "info,embedding_gateway::request=off", "LOG_FORMAT": "json"}
VARNISH = {"MEMORY": "6m"}
MODEL = "text-embedding-3-small"
POPULAR = [f"question {number} that many clients ask" for number in range(200)]
# Where the page goes.
FOLDER = Path(os.environ.get("BENCH_DOCS", ROOT / "docs")) / "benchmarks"
TABLE, PICTURE = FOLDER / "soak.csv", FOLDER / "soak.svg"

HEADING = """## Soak

The chain (Envoy with the filter, Varnish, gateway, an S3 server) for {minutes:.0f} minutes at about {per_second} requests/s:
repeats, new inputs, batches, forced refreshes, streamed chats, clients that hang up, refusals, and a purge every
{purge:.0f} s. {right:,} right answers, {wrong} wrong ones. The tiers are small (gateway {gateway}, Varnish {varnish}) and full
when the first third is over; no row may grow from the second third to the last.

![Anonymous memory of each part over time](benchmarks/soak.svg)

| | first third | second | last | flat |
|---|---|---|---|---|"""


class Asker:
    """Chooses what the clients ask."""

    def __init__(self) -> None:
        self._keys = [secret("soak-one"), secret("soak-two")]
        self._fresh = itertools.count()

    def __call__(self, chosen: random.Random) -> Question:
        kind, key = chosen.random(), chosen.choice(self._keys)
        if kind < 0.6:
            return self._question(chosen.choice(POPULAR), key)
        if kind < 0.7:
            return self._question(self._new(1)[0], key)
        if kind < 0.9:
            return self._question(chosen.sample(POPULAR, 4) + self._new(1), key)
        if kind < 0.95:
            return self._question(chosen.choice(POPULAR), key, cache_control="no-cache")
        return self._question("", key)

    def _new(self, count: int) -> list[str]:
        return [f"something new, number {next(self._fresh)}" for _ in range(count)]

    @staticmethod
    def _question(inputs: str | list[str], key: str, **headers: str) -> Question:
        body = json.dumps({"model": MODEL, "input": inputs, "encoding_format": "base64"}).encode()
        return Question.of(body, key, None, **headers)

    def chat(self) -> dict:
        return {"model": "gpt-4o-mini", "stream": True, "messages": [{"role": "user", "content": "Hello"}]}

    def headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self._keys[0]}", "content-type": "application/json"}


def sample(parts: Parts) -> dict[Column, float]:
    pids = parts.pids()
    found = [
        *of_process("gateway", pids["backend"]),
        *of_gateway(parts.backend_url),
        *of_varnish(pids["varnish"], parts.varnish_work_dir),
        *of_process("Envoy", pids["envoy"]),
        *of_process("broadcaster", pids["broadcaster"]),
    ]
    return dict(found)


def disturb(parts: Parts, asker: Asker, number: int) -> None:
    """What the load does not do: a streamed chat, a client that hangs up, now and then a purge."""
    send(parts.url, "POST", "/v1/chat/completions", asker.chat(), asker.headers())
    try:
        send(parts.url, "POST", "/v1/chat/completions", asker.chat(), asker.headers(), timeout=0.05)
    except OSError:
        pass
    if number % PURGE_EVERY == 0:
        send(parts.broadcaster_url, "PURGE", "/v1/embeddings", None, {"surrogate-key": f"model:{MODEL}"})


@contextmanager
def running_parts() -> Iterator[Parts]:
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        parts = Parts(Path(name) / "parts", varnish=VARNISH, **TIERS)
        try:
            yield parts
        finally:
            parts.stop()


def measure() -> tuple[list[float], list[dict[Column, float]], Load]:
    asker, times, samples = Asker(), [], []
    with running_parts() as parts, Load(parts.url, asker, clients=CLIENTS, per_second=PER_SECOND) as load:
        began = time.monotonic()
        for number in range(1, SAMPLES + 1):
            time.sleep(max(0.0, began + number * SECONDS / SAMPLES - time.monotonic()))
            disturb(parts, asker, number)
            times.append((time.monotonic() - began) / 60)
            samples.append(sample(parts))
    return times, samples, load


def write_table(times: list[float], samples: list[dict[Column, float]]) -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    with open(TABLE, "w", newline="") as opened:
        rows = csv.writer(opened, lineterminator="\n")
        rows.writerow(["minutes", *samples[0]])
        for at, values in zip(times, samples, strict=True):
            rows.writerow([f"{at:.2f}", *(f"{value:.1f}".removesuffix(".0") for value in values.values())])


def draw(times: list[float], samples: list[dict[Column, float]]) -> None:
    columns = [column for column in samples[0] if column.unit == "MiB"]
    series = {column.part: [(at, values[column]) for at, values in zip(times, samples, strict=True)] for column in columns}
    plot.lines(PICTURE, "Soak: memory over time", "minutes", "MiB", series)


def main() -> None:
    times, samples, load = measure()
    write_table(times, samples)
    draw(times, samples)
    purge = PURGE_EVERY * SECONDS / SAMPLES
    told = {"right": load.tally.right, "wrong": len(load.tally.wrong), "gateway": TIERS["MEMORY_CACHE_BYTES"], "varnish": VARNISH["MEMORY"]}
    print(HEADING.format(minutes=SECONDS / 60, per_second=PER_SECOND, purge=purge, **told))
    growing = []
    for column in samples[0]:
        values = [each[column] for each in samples]
        growing += [str(column)] if grows(column, values) else []
        thirds = " | ".join(f"{third(values, number):,.1f}" for number in (1, 2, 3))
        print(f"| {column} | {thirds} | {'no' if grows(column, values) else 'yes'} |")
    if growing:
        sys.exit(f"soak: grows after the warm-up: {', '.join(growing)}")


if __name__ == "__main__":
    main()

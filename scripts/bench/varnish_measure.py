"""Measures hits of Varnish before and after 10,000 bans, with the ban lurker and without; prints Markdown.

Bans are made as they are in use, by PURGE with Surrogate-Key, and match nothing. Without the lurker an object meets all of
them at its next hit. With it, the lurker works them off in the background, and then a hit meets none.
"""

import http.client
import os
import tempfile
import time
from pathlib import Path
from statistics import median, quantiles

from varnish.varnish import EMBEDDINGS, Backend, Varnish, body_hash, start

ROUNDS = int(os.environ["BENCH_ROUNDS"])
OBJECTS = 400
BANS = 10_000
HITS = 8_000
# A base64 vector of 1,536 numbers, and what stands around it.
ANSWER_BYTES = 8_300
LURKER_SECONDS = 120
# Now and then the lurker of 7.1 stops half-way and sleeps; the next ban wakes it.
NUDGE_SECONDS = 10


def hits(varnish: Varnish, count: int) -> list[float]:
    """Seconds that each of `count` hits took, over one connection, object after object."""
    connection = http.client.HTTPConnection("127.0.0.1", varnish.port, timeout=10)
    took = []
    for number in range(count):
        headers = {"X-Body-Hash": body_hash(number % OBJECTS), "X-Answer-Bytes": str(ANSWER_BYTES)}
        begun = time.perf_counter()
        connection.request("POST", EMBEDDINGS, b"{}", headers)
        answer = connection.getresponse()
        answer.read()
        took.append(time.perf_counter() - begun)
        assert "Varnish; hit" in answer.headers["Cache-Status"], "a ban that matches nothing ended an object"
    connection.close()
    return took


def fill(varnish: Varnish) -> None:
    for number in range(OBJECTS):
        varnish.embed(number, {"X-Answer-Bytes": str(ANSWER_BYTES)})


def ban(varnish: Varnish) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", varnish.port, timeout=10)
    for number in range(BANS):
        connection.request("PURGE", "/", headers={"Surrogate-Key": f"model:none-{number}"})
        assert connection.getresponse().read()
    connection.close()


def await_lurker(varnish: Varnish) -> float:
    """Seconds until the lurker has worked off all but the newest bans."""
    begun = nudged = time.monotonic()
    while varnish.counter("MAIN.bans") > 2:
        now = time.monotonic()
        if now - begun > LURKER_SECONDS:
            raise RuntimeError("the lurker did not work off the bans")
        if now - nudged > NUDGE_SECONDS:
            varnish.request("PURGE", "/", {"Surrogate-Key": f"model:nudge-{now}"})
            nudged = now
        time.sleep(0.1)
    return time.monotonic() - begun


def percentile_99(seconds: list[float]) -> float:
    return quantiles(seconds, n=100)[98]


def measure(folder: Path, backend_port: int) -> dict[str, list[float]]:
    """One round, each half of it on a varnishd of its own: a lurker that was off takes its time to come back."""
    results = {}
    for lurker in (True, False):
        varnish = start(folder / str(lurker), backend_port)
        try:
            if not lurker:
                varnish.admin("param.set", "ban_lurker_sleep", "0")
            fill(varnish)
            before = hits(varnish, HITS)
            ban(varnish)
            if lurker:
                results |= {"none": before, "seconds": [await_lurker(varnish)], "lurked": hits(varnish, HITS)}
            else:
                results |= {"none, no lurker": before, "first": hits(varnish, OBJECTS), "later": hits(varnish, HITS)}
        finally:
            varnish.process.stop()
    return results


def row(name: str, rounds: list[dict], key: str, plain: str) -> str:
    cells = [name]
    for figure in (median, percentile_99):
        cells.append(f"{median(figure(one[key]) for one in rounds) * 1e6:,.0f} µs")
        cells.append(f"{median(figure(one[key]) / figure(one[plain]) for one in rounds):.2f}×")
    return f"| {' | '.join(cells)} |"


def main() -> None:
    backend = Backend()
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        rounds = [measure(Path(folder) / str(turn), backend.port) for turn in range(ROUNDS)]
    backend.stop()
    print(f"""## Varnish: the cost of bans

{OBJECTS} objects of {ANSWER_BYTES:,} bytes, hit one after the other over one connection; {BANS:,} bans by PURGE, all different, none of which matches.
Median of {ROUNDS} rounds; ratios to the hits before the bans of the same round. The lurker of `start.sh` was done after {median(one['seconds'][0] for one in rounds):.1f} s (median).

| hits | p50 | | p99 | |
|---|---|---|---|---|
{row('no bans', rounds, 'none', 'none')}
{row('after the bans, lurker done', rounds, 'lurked', 'none')}
{row('after the bans, no lurker, first hit of each object', rounds, 'first', 'none, no lurker')}
{row('after the bans, no lurker, later hits', rounds, 'later', 'none, no lurker')}""")


if __name__ == "__main__":
    main()

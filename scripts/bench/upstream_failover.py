"""Clients at a steady rate while one of two upstreams dies, hangs or refuses: what they see of it, and what is asked twice."""

import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles

import figures
from harness.client import send
from harness.gateway import Gateway
from harness.standin import Standin
from harness.waiting import eventually
from measuring import MEASURED_CORES, OTHER_CORES, SECONDS, on_cores
from upstream_loads import MODEL, Asked, ask_steadily

JSON = {"content-type": "application/json"}
A_SECOND = 200
# What a model takes for a call.
UPSTREAM_MS = 20
# The gateway's own value, which is what this is about.
FAILOVER_SECONDS = 10
BEFORE_SECONDS = max(2, SECONDS)
AFTER_SECONDS = max(3, SECONDS)
# Enough that those who wait keep no other request waiting.
CLIENTS = 700
COMPARED_SECONDS = 30

KILLED, HANGS, REFUSES, FAILS = "is killed", "hangs", "answers 429", "answers 503"
FAULTS = {REFUSES: {"status": 429, "retry_after": "1"}, FAILS: {"status": 503}}
FIRST, EQUAL = "the first of two", "one of two equals"
CASES = [(f"{place} {what}",) for place in (FIRST, EQUAL) for what in (KILLED, HANGS, REFUSES, FAILS)]

EXPLAINED = f"""- *Failover*: two upstreams of one model by `UPSTREAMS_FILE`, of which the first is asked before the second or both are equals; {A_SECOND} requests a second
  without a pause, each for one new input, of which a call takes {UPSTREAM_MS} ms. After {BEFORE_SECONDS} s one of the two is killed (SIGKILL), hangs (SIGSTOP), or answers 429 or 503 to all.
  Against: the p99 of before. All as the gateway has it unless told otherwise: a call waits {FAILOVER_SECONDS} s for an upstream that does not answer
  (`UPSTREAM_FAILOVER_AFTER`). *Asked twice*: calls that may have been charged by the one that failed."""


@dataclass(frozen=True)
class Failover:
    """What clients saw of one upstream's end."""

    p99_before_ms: float
    p99_after_ms: float
    longest_ms: float
    requests: int
    errors: int
    asked_twice: int


def _file(folder: Path, standins: list[Standin], place: str) -> Path:
    priorities = (1, 1 if place == EQUAL else 2)
    upstreams = zip("ab", standins, priorities, strict=True)
    parts = [f'[upstreams.{name}]\nbase_url = "{one.url}/v1"\ncredential = "env:OPENAI_API_KEY"\npriority = {priority}\n' for name, one, priority in upstreams]
    file = folder / "upstreams.toml"
    file.write_text("".join(parts) + f'[models."{MODEL}"]\nupstreams = ["a", "b"]\n')
    return file


def _gateway(folder: Path, file: Path, quiet: str) -> Gateway:
    """One that has found that both give the same vectors."""
    with on_cores(MEASURED_CORES):
        variables = {"UPSTREAMS_FILE": str(file), "OPENAI_API_KEY": "sk-gateway", "ALLOW_ANONYMOUS": "true", "RUST_LOG": quiet}
        gateway = Gateway(folder / "gateway", None, **variables)
    compared = f'upstream_vectors_differ{{model="{MODEL}",upstream="b"}} 0'
    eventually(lambda: compared in gateway.metrics(), COMPARED_SECONDS, "the comparison of both upstreams")
    return gateway


def _strike(standin: Standin, what: str) -> None:
    if what == KILLED:
        standin.process.kill()
    elif what == HANGS:
        standin.process.signal(signal.SIGSTOP)
    else:
        assert send(standin.url, "PUT", "/faults", FAULTS[what], JSON).status == 200


def _asked_twice(gateway: Gateway) -> int:
    reasons = ("timeout", "broken", "server_error")
    return sum(gateway.metric(f'embedding_gateway_failovers_total{{reason="{reason}"}}') for reason in reasons)


def _p99(asked: Asked, is_before: bool) -> float:
    """Of the requests that had ended when the fault struck, or of all others."""
    times = zip(asked.at_seconds, asked.took_ms, strict=True)
    return quantiles((ms for at, ms in times if (at + ms / 1e3 < BEFORE_SECONDS) == is_before), n=100)[98]


def _ask(gateway: Gateway, standin: Standin, what: str) -> Failover:
    # A hang is over when the calls that waited for it have gone elsewhere.
    after = AFTER_SECONDS + (FAILOVER_SECONDS if what == HANGS else 0)
    strike = threading.Timer(BEFORE_SECONDS, _strike, (standin, what))
    strike.start()
    asked = ask_steadily(gateway.url, "sk-acme-1", A_SECOND, BEFORE_SECONDS + after, CLIENTS)
    strike.join()
    return Failover(
        p99_before_ms=_p99(asked, is_before=True),
        p99_after_ms=_p99(asked, is_before=False),
        longest_ms=max(asked.took_ms),
        requests=len(asked.took_ms),
        errors=asked.errors,
        asked_twice=_asked_twice(gateway),
    )


def failover(folder: Path, quiet: str) -> Callable[[str], Failover]:
    """What clients see, by case."""
    turns = 0

    def measure(case: str) -> Failover:
        nonlocal turns
        turns += 1
        own = folder / f"failover-{turns}"
        place = FIRST if case.startswith(FIRST) else EQUAL
        with on_cores(OTHER_CORES):
            standins = [Standin(own / name) for name in "ab"]
        processes = [standin.process for standin in standins]
        for standin in standins:
            assert send(standin.url, "PUT", "/faults", {"delay_ms": UPSTREAM_MS}, JSON).status == 200
        try:
            gateway = _gateway(own, _file(own, standins, place), quiet)
            processes.append(gateway.process)
            return _ask(gateway, standins[0], case.removeprefix(f"{place} "))
        finally:
            for process in processes:
                # One that is stopped does not end.
                if process.exit_code is None:
                    process.signal(signal.SIGCONT)
                process.stop()

    return measure


def rows(results: dict[tuple, list[Failover]]) -> list[str]:
    """A line a case, in the columns of the other parts."""
    lines = []
    for (case,), samples in results.items():

        def of(name: str, samples: list[Failover] = samples) -> float:
            return median(figures.values(samples, name))

        errors, twice = (sum(figures.values(samples, name)) for name in ("errors", "asked_twice"))
        requests = sum(figures.values(samples, "requests"))
        found = f"{errors} errors of {requests:,}, p99 {of('p99_after_ms'):.0f} ms, longest {of('longest_ms'):,.0f} ms, {twice} asked twice"
        ratio = figures.ratio_within(samples, "p99_after_ms", "p99_before_ms")
        lines.append(figures.row(case, found, f"before: p99 {of('p99_before_ms'):.0f} ms", f"{ratio:.3f}", "no error"))
    return lines

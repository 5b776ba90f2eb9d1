"""Measures the layer between misses and the upstream: what it costs, and what it keeps from clients; prints Markdown."""

import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles

import figures
import plot
import wrk
from contender import Contender
from harness.client import Answer, send
from harness.gateway import Gateway
from harness.standin import Standin
from measuring import MEASURED_CORES, OTHER_CORES, ROUNDS, SECONDS, on_cores, rounds
from upstream_failover import CASES, EXPLAINED, Failover, failover
from upstream_failover import rows as rows_of_failover
from upstream_loads import DIMENSIONS, MODEL, PATH, TEXT, TOKENS, ask_steadily, bulk_job, drain

QUIET = "info,embedding_gateway::request=off"
JSON = {"content-type": "application/json"}
# The gateway's key goes upstream for all callers, who share its pace and their calls.
SHARED_KEY = {"OPENAI_API_KEY": "sk-gateway", "ALLOW_ANONYMOUS": "true"}
HEADERS = {"authorization": "Bearer sk-acme-1", **JSON}

# As many as keep the core busy with every layer. With few, the gateway sleeps while a window is open, and the time that
# the system takes to wake it counts as its own.
MISS_CONNECTIONS = 64
PLAIN = "plainest: no pace, no batches"
PACED = "pace: told limits and the operator's"
# Beyond any machine: they are kept and never met.
LIMITS = {"UPSTREAM_REQUESTS_PER_MINUTE": "1000000000", "UPSTREAM_TOKENS_PER_MINUTE": "1000000000000"}
LAYERS = {PLAIN: {"RATE_WAIT": "0s"}, PACED: LIMITS, "pace and BATCH_WINDOW=1ms": LIMITS | {"BATCH_WINDOW": "1ms"}}

TOKENS_A_MINUTE = 1_000_000
BACKLOG, BACKLOG_BATCH, BACKLOG_CLIENTS = 50_000, 50, 32
BACKLOG_ROUNDS = min(ROUNDS, 2)
IDEAL_SECONDS = BACKLOG * TOKENS / TOKENS_A_MINUTE * 60

# What a model takes for a call.
UPSTREAM_MS = 50
SINGLES_A_SECOND = 20
JOB_BATCH, JOB_CLIENTS = 50, 16
# Of fewer answers than these a p99 is the slowest one.
FAIRNESS_SECONDS = max(10, SECONDS)
ALONE, BESIDE = "alone", "beside a bulk job"

CALLERS = 64
WINDOWS = ("0ms", "5ms")

HEADING = f"""## Upstream

What stands between a miss and the upstream, here the stand-in: {ROUNDS} interleaved rounds, ratios within a round. The gateway has one core to itself, upstream and
clients share the others. Vectors have {DIMENSIONS} numbers, inputs {TOKENS} tokens.

- *A miss*: processor time of the gateway for one new input, {MISS_CONNECTIONS} connections, {SECONDS} s a round.
- *Backlog*: {BACKLOG:,} inputs by {BACKLOG_CLIENTS} clients in requests of {BACKLOG_BATCH}, at an upstream that takes {TOKENS_A_MINUTE:,} tokens a minute, tells so in its headers, has none
  left at the beginning and answers what is too much with 429; {BACKLOG_ROUNDS} of them. All inputs at the full limit, each of {TOKENS} tokens: the ideal is {IDEAL_SECONDS:.0f} s.
- *Fairness*: p99 of a caller with {SINGLES_A_SECOND} single inputs a second at the same limit, alone and beside another caller's bulk job of {JOB_CLIENTS} clients with batches of
  {JOB_BATCH}, which uses the limit up. The upstream takes {UPSTREAM_MS} ms for a call; the gateway's key pays for both.
- *Batches*: inputs a call of {CALLERS} callers that each ask for one new input after the other, with `BATCH_WINDOW` and without.
{EXPLAINED}
"""
TITLES = ("what", "found", "against", "ratio", "wanted")


@dataclass(frozen=True)
class Sample:
    """One measurement: what counts in it, and the errors that clients saw."""

    value: float
    errors: int = 0


@dataclass
class Bench:
    """Starts what is measured, and ends it."""

    folder: Path
    standin: Standin
    stack: ExitStack

    def gateway(self, name: str, **variables: str) -> Gateway:
        with on_cores(MEASURED_CORES):
            gateway = Gateway(self.folder / name, self.standin.url, **{"RUST_LOG": QUIET} | variables)
        self.stack.callback(gateway.process.stop)
        return gateway

    def upstream(self, delay_ms: int = 0, tokens_a_minute: int | None = None) -> None:
        """What the upstream takes from now on, for a call and in a minute."""
        limit = {"tokens": {"a_minute": tokens_a_minute, "left": 0}} if tokens_a_minute else {}
        for path, content in (("/faults", {"delay_ms": delay_ms}), ("/rate", limit)):
            assert send(self.standin.url, "PUT", path, content, JSON).status == 200

    def template(self) -> Path:
        """A request for one input, whose number wrk counts up."""
        file = self.folder / "template"
        file.write_text(json.dumps({"model": MODEL, "input": "passage @", "dimensions": DIMENSIONS, "encoding_format": "base64"}))
        return file


@contextmanager
def running() -> Iterator[Bench]:
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        with on_cores(OTHER_CORES):
            standin = Standin(folder / "standin")
        stack.callback(standin.process.stop)
        yield Bench(folder, standin, stack)


def contender(gateway: Gateway) -> Contender:
    def check(one: Contender, body: bytes) -> Answer:
        answer = send(one.url, "POST", PATH, body, HEADERS)
        if answer.status != 200 or len(answer.json["data"]) != 1:
            raise RuntimeError(f"{answer.status}: {answer.body[:300]}")
        return answer

    return Contender("gateway", [gateway.process], int(gateway.url.rpartition(":")[2]), check, PATH, HEADERS)


def miss_cost(bench: Bench) -> Callable[[str], Sample]:
    """Of each layer, the processor time of a miss in µs."""
    first, file = 0, bench.template()
    contenders = {name: contender(bench.gateway(f"layers-{number}", **LAYERS[name])) for number, name in enumerate(LAYERS)}
    right = TEXT.format(0).encode()

    def measure(name: str) -> Sample:
        nonlocal first
        one = contenders[name]
        one.check(one, json.dumps({"model": MODEL, "input": right.decode(), "dimensions": DIMENSIONS}).encode())
        before = one.processor_seconds()
        measured = wrk.post(one.port, file, MISS_CONNECTIONS, SECONDS, OTHER_CORES, PATH, HEADERS, wrk.Numbers(first))
        first += measured.requests + MISS_CONNECTIONS
        return Sample((one.processor_seconds() - before) * 1e6 / measured.requests)

    return measure


def backlog(bench: Bench) -> Callable[[], Sample]:
    """The seconds that it takes."""

    def measure() -> Sample:
        bench.upstream(tokens_a_minute=TOKENS_A_MINUTE)
        # New, so that it has everything to learn.
        gateway = bench.gateway(f"backlog-{bench.folder.stat().st_mtime_ns}")
        drained = drain(gateway.url, "sk-acme-1", BACKLOG, BACKLOG_BATCH, BACKLOG_CLIENTS)
        gateway.process.stop()
        return Sample(drained.seconds, drained.errors)

    return measure


def fairness(bench: Bench) -> Callable[[str], Sample]:
    """The p99 of single inputs in ms."""
    gateway = bench.gateway("fairness", **SHARED_KEY)

    def ask() -> Sample:
        asked = ask_steadily(gateway.url, "sk-of-single", SINGLES_A_SECOND, FAIRNESS_SECONDS, clients=4)
        return Sample(quantiles(asked.took_ms, n=100)[98], asked.errors)

    def measure(case: str) -> Sample:
        bench.upstream(delay_ms=UPSTREAM_MS, tokens_a_minute=TOKENS_A_MINUTE)
        if case == ALONE:
            return ask()
        with bulk_job(gateway.url, "sk-of-bulk", JOB_BATCH, JOB_CLIENTS) as job:
            found = ask()
        return Sample(found.value, found.errors + job.errors)

    return measure


def batches(bench: Bench) -> Callable[[str], Sample]:
    """Inputs a call."""
    first, file = 10_000_000, bench.template()
    gateways = {window: bench.gateway(f"window-{window}", BATCH_WINDOW=window, **SHARED_KEY) for window in WINDOWS}
    calls = 'embedding_gateway_upstream_calls_total{result="200"}'

    def measure(window: str) -> Sample:
        nonlocal first
        bench.upstream(delay_ms=UPSTREAM_MS)
        gateway = gateways[window]
        before = gateway.metric(calls)
        measured = wrk.post(contender(gateway).port, file, CALLERS, SECONDS, OTHER_CORES, PATH, HEADERS, wrk.Numbers(first))
        first += measured.requests + CALLERS
        return Sample(measured.requests / (gateway.metric(calls) - before))

    return measure


def ratio(samples: list[Sample], others: list[Sample]) -> float:
    return median(one.value / other.value for one, other in zip(samples, others, strict=True))


def middle(samples: list[Sample]) -> float:
    return median(sample.value for sample in samples)


def errors(*kinds: list[Sample]) -> str:
    return f"{sum(sample.errors for samples in kinds for sample in samples)} errors"


Results = dict[tuple, list[Sample]]


def row(what: str, found: str, against: str, ratio: float, wanted: str) -> str:
    return figures.row(what, found, against, f"{ratio:.3f}", wanted)


def table(results: Results) -> str:
    def of(part: str, case: str = "") -> list[Sample]:
        return results[part, case]

    plain = of("miss", PLAIN)
    lines = [figures.head(*TITLES)]
    for name in LAYERS:
        if name != PLAIN:
            found = of("miss", name)
            lines.append(row(f"a miss, {name}", f"{middle(found):.0f} µs", f"{PLAIN}: {middle(plain):.0f} µs", ratio(found, plain), "≤ 1.05"))
    drained = of("backlog")
    seconds = f"{middle(drained):.1f} s, {errors(drained)}"
    lines.append(row("the backlog", seconds, f"ideal: {IDEAL_SECONDS:.0f} s", middle(drained) / IDEAL_SECONDS, "≤ 1.1, no error"))
    alone, beside = of("fairness", ALONE), of("fairness", BESIDE)
    p99 = f"p99 {middle(beside):.0f} ms, {errors(alone, beside)}"
    lines.append(row("a single input beside a bulk job", p99, f"{ALONE}: {middle(alone):.0f} ms", ratio(beside, alone), "≤ 2"))
    none, some = (of("batches", window) for window in WINDOWS)
    lines.append(row(f"inputs a call, BATCH_WINDOW={WINDOWS[1]}", f"{middle(some):.1f}", f"{WINDOWS[0]}: {middle(none):.1f}", ratio(some, none), "≥ 8"))
    return "\n".join(lines)


def draw(results: Results) -> str:
    groups = {"a miss": ("miss", PLAIN, list(LAYERS)[-1]), "p99 of a single input": ("fairness", ALONE, BESIDE), "calls for an input": ("batches", *WINDOWS)}
    ratios = {"before": [], "with it": []}
    for part, before, behind in groups.values():
        found = ratio(results[part, behind], results[part, before])
        ratios["before"].append(1.0)
        ratios["with it"].append(1 / found if part == "batches" else found)
    plot.bars(figures.FIGURES / "upstream.svg", "What the layer before the upstream changes", "ratio", list(groups), ratios)
    return "![A miss, a single input and calls, with the layer and without](benchmarks/upstream.svg)"


def measured(bench: Bench) -> Results:
    """Everything, by part and case."""
    parts: list[tuple[str, Callable, list[tuple], int]] = [
        ("miss", miss_cost(bench), [(name,) for name in LAYERS], ROUNDS),
        ("batches", batches(bench), [(window,) for window in WINDOWS], ROUNDS),
        ("fairness", fairness(bench), [(ALONE,), (BESIDE,)], ROUNDS),
        ("backlog", backlog(bench), [()], BACKLOG_ROUNDS),
    ]
    results: Results = {}
    for part, measure, cases, count in parts:
        print(f"  {part}", file=sys.stderr)
        for case, samples in rounds(cases, measure, count).items():
            results[part, "".join(case)] = samples
        bench.upstream()
    return results


ROUNDS_TOLD = "Every round: [upstream.csv](benchmarks/upstream.csv), of failover [upstream-failover.csv](benchmarks/upstream-failover.csv)."


def main() -> None:
    with running() as bench:
        results = measured(bench)
        print("  failover", file=sys.stderr)
        failovers: dict[tuple, list[Failover]] = rounds(CASES, failover(bench.folder, QUIET))
    figures.write_rounds("upstream", ("what", "case"), results)
    figures.write_rounds("upstream-failover", ("case",), failovers)
    rows = [table(results), *rows_of_failover(failovers)]
    print("\n".join([HEADING, *rows, "", draw(results), "", ROUNDS_TOLD]))


if __name__ == "__main__":
    main()

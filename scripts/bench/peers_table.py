"""What was measured of the peers, as Markdown and pictures, and what is wanted."""

from collections.abc import Mapping, Sequence
from statistics import median

import figures
import plot
from contender import Sample
from measuring import ROUNDS, SECONDS
from paced import Paced

OWN, NGINX, LITELLM = "embedding-gateway", "nginx", "LiteLLM"
BASE64, FLOAT = "hit, base64", "hit, float"
HEADING = f"""## Beside other gateways and caches

Each program has one core to itself; wrk and the upstream, the offline stand-in, share the other. All answer the same requests with the same vectors of
1,536 numbers, checked against the upstream's. *Hit* asks for one input again and again and must not reach the upstream, *miss* asks for another input each
time. Medians of {ROUNDS} interleaved rounds of {SECONDS} s; CPU is that of the gateway for one request; memory is the most of all rounds, with what the misses before left in it.
"""
TITLES = ("request", "connections", "gateway", "requests/s (spread)", "p50 µs", "p99 µs", "CPU µs", "memory MiB")
# What each does besides, that costs it time or that a user would miss elsewhere.
NOTES = """### What each does for a hit

- **embedding-gateway** reads the request, makes a key of each input, finds the vectors in memory and writes them in the encoding that was asked for: a hit in a batch,
  in the other encoding, with another `user` or another order of fields. It checks that the upstream accepted this caller's key, and counts.
- **nginx** (`proxy_cache_methods POST`, keyed by path, `Authorization` and `$request_body`) sends a file whose name is the key's hash. It hits for the same bytes only, stores
  whole answers in each encoding again, cannot merge batches, check vectors, or purge by model; two callers share nothing, and a caller whose key was revoked still hits.
- **LiteLLM**'s proxy (PyPI, cache in memory, one worker, no database) reads the request into objects, finds the input in its cache and writes the answer anew. It knows
  some hundred providers, keys, budgets and guardrails; here it was given none of them.
- **Portkey**'s gateway (npm) has no cache in the package that it publishes: it is measured for misses alone. It knows many providers, retries and fallbacks. With the newest
  version of its HTTP library it answers each call that succeeds with 500; it is measured with the one that works.

Not to be had from the registries that this runs with: Helicone's gateway (no package), agentgateway (no crate), Bifrost (its npm package downloads a program from elsewhere,
its Go module cannot be fetched), TensorZero's gateway (its PyPI package embeds the gateway in a Python process and serves no HTTP)."""
Results = Mapping[tuple, Sequence[Sample]]


def text(results: Results, steady: Mapping[tuple, Sequence[Paced]], rate: int) -> str:
    parts = [HEADING, table(results), "", draw(results), "", wanted(results, steady, rate), "", NOTES, ""]
    return "\n".join([*parts, "Every round: [peers.csv](benchmarks/peers.csv)."])


def table(results: Results) -> str:
    lines = [figures.head(*TITLES)]
    for (name, what, connections), samples in results.items():
        times = [figures.number(figures.middle(samples, value)) for value in ("p50_us", "p99_us", "processor_us")]
        memory = figures.number(max(figures.values(samples, "memory_mib")))
        lines.append(figures.row(what, str(connections), name, figures.spread(samples, "per_second"), *times, memory))
    return "\n".join(lines)


def draw(results: Results) -> str:
    kinds = list(dict.fromkeys(what for _, what, _ in results))
    names = list(dict.fromkeys(name for name, _, _ in results))
    served = {name: [_served(results, name, what) for what in kinds] for name in names}
    plot.bars(figures.FIGURES / "peers.svg", "Requests per second on one core, 16 connections", "requests/s", kinds, served, "y")
    return "![Requests per second of each gateway](benchmarks/peers.svg)"


def _served(results: Results, name: str, what: str) -> float | None:
    samples = results.get((name, what, 16))
    return samples and figures.middle(samples, "per_second")


def wanted(results: Results, steady: Mapping[tuple, Sequence[Paced]], rate: int) -> str:
    def times(what: str, other: str) -> str:
        return f"{figures.ratio(results[OWN, what, 16], results[other, what, 16], 'per_second'):.2f}×"

    # The first round begins with the hits: later, what each has kept of its misses would be compared, and their number.
    own, other = (results[name, BASE64, 16][0].memory_mib for name in (OWN, LITELLM))
    p99 = {name: median(one.p99_us for one in rounds) for (name,), rounds in steady.items()}
    lines = [
        ("base64 hits/s of nginx's, 16 connections", times(BASE64, NGINX), "≥ 1.3×"),
        ("float hits/s of nginx's, 16 connections", times(FLOAT, NGINX), "≥ 1.0×"),
        ("base64 hits/s of LiteLLM's, 16 connections", times(BASE64, LITELLM), "≥ 250×"),
        ("memory of LiteLLM's, before the first miss", f"1/{other / own:.0f} ({own:.0f} MiB)", "≤ 1/15"),
        (f"p99 of chat passed through at {rate:,} requests/s", f"{p99[OWN] / 1000:.2f} ms ({p99['no gateway'] / 1000:.2f} ms without a gateway)", "< 0.44 ms"),
    ]
    return "\n".join(["### What is wanted of it", "", figures.head("what", "measured", "wanted"), *(figures.row(*line) for line in lines)])

"""How fast a tap hashes inside V8: its time over that of the same listener without it. Nothing is forwarded here."""

from pathlib import Path
from statistics import median

import wrk
from filter.attachments import member
from filter_ways import MIB, NONE, READ_ALL, built, envoy
from harness.envoy_config import http_connection_manager, listener
from measuring import MEASURED_CORES, OTHER_CORES, SECONDS, rounds

ANSWER = {"match": {"prefix": "/"}, "direct_response": {"status": 200}}
FLAGS = {"scalar": "-simd128", "simd": "+simd128"}


def table(folder: Path) -> str:
    filters = {NONE: [], **{name: [member("tap", built(name), vm_id=name)] for name in FLAGS}}
    listeners = [listener(name, http_connection_manager([*chained, READ_ALL], [ANSWER])) for name, chained in filters.items()]
    with envoy(listeners, [], folder / "hashing", MEASURED_CORES) as gateway:
        ports = {name: gateway.port(name) for name in filters}
        results = rounds([(name,) for name in filters], lambda name: wrk.post(ports[name], MIB, 1, SECONDS, OTHER_CORES))
    seconds = {}
    for name in FLAGS:
        seconds[name] = [(tap.p50_us - plain.p50_us) / 1e6 for tap, plain in zip(results[name,], results[NONE,], strict=True)]
    lines = ["SHA-256 inside V8: what the tap alone adds to reading a body of 1 MiB.", ""]
    lines += ["| build | added for 1 MiB, p50 | hashed per second |", "|---|---|---|"]
    for name, flag in FLAGS.items():
        middle = median(seconds[name])
        lines.append(f"| `-C target-feature={flag}` | {middle * 1e6:,.0f} µs | {MIB / middle / 1e6:,.0f} MB/s |")
    ratio = median(scalar / simd for scalar, simd in zip(seconds["scalar"], seconds["simd"], strict=True))
    return "\n".join(lines) + f"\n\nWith `+simd128` the filter hashes {ratio:.2f}× as fast (median of the rounds)."

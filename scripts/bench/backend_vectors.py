"""What float16s save and cost: entries that fit into memory, bytes in the store, time to find and to write them.

The yardstick are vectors of a model whose numbers are none: the gateway keeps those as `f32`.
"""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

from backend_bench import FLOAT_MODEL, HEADERS, MIB, MODEL, Bench, on_cores, request, row
from harness.client import send
from harness.programs import START_SECONDS
from harness.waiting import eventually
from measuring import MEASURED_CORES

TIER = 64 * MIB
BATCH = 256
STORED = 64


def rows(bench: Bench) -> Iterator[str]:
    entries = {model: entries_that_fit(bench, model) for model in (MODEL, FLOAT_MODEL)}
    found = entries[MODEL] / entries[FLOAT_MODEL]
    yield row(f"entries in a memory tier of {TIER // MIB} MiB", f"{entries[MODEL]:,}", f"as `f32`: {entries[FLOAT_MODEL]:,}", found, "≥ 1.90")
    put = {model: bytes_put(bench, model) for model in (MODEL, FLOAT_MODEL)}
    found = put[MODEL] / put[FLOAT_MODEL]
    yield row("bytes put into the store, a vector", f"{put[MODEL]:,.0f}", f"as `f32`: {put[FLOAT_MODEL]:,.0f}", found, "≤ 0.55")
    yield from costs(bench)


def entries_that_fit(bench: Bench, model: str) -> int:
    """Of more than fit."""
    gateway, _ = bench.gateway(MEMORY_CACHE_BYTES=f"{TIER // MIB}MiB")
    for first in range(0, TIER // 3000, BATCH):
        assert send(gateway.url, "POST", "/v1/embeddings", request(BATCH, first, model=model), HEADERS).status == 200
    count = gateway.metric("embedding_gateway_memory_entries ")
    gateway.process.stop()
    return count


def bytes_put(bench: Bench, model: str) -> float:
    folder = bench.folder / f"objects-{model}"
    folder.mkdir()
    gateway, _ = bench.gateway(STORE=f"file://{folder}")
    assert send(gateway.url, "POST", "/v1/embeddings", request(STORED, model=model), HEADERS).status == 200
    eventually(lambda: gateway.stored("ok") >= STORED, START_SECONDS, "the writes")
    gateway.process.stop()
    return sum(path.stat().st_size for path in objects(folder)) / STORED


def objects(folder: Path) -> list[Path]:
    return [path for path in (folder / "v1").rglob("*") if path.is_file()]


def costs(bench: Bench) -> Iterator[str]:
    with on_cores(MEASURED_CORES):
        ran = subprocess.run([bench.executables["vector_cost"]], check=True, capture_output=True, text=True)
    times = json.loads(ran.stdout)
    found, refused = (f"{times[name] / 1000:.1f} µs" for name in ("find", "refuse"))
    yield row("finding a vector's float16s", found, f"finding that there are none: {refused}", None, "≤ 20 µs")
    for encoding in ("base64", "float"):
        (own, other) = (times[encoding], times[f"{encoding}_f32"])
        what = f"writing an answer of one vector, {encoding}"
        yield row(what, f"{own / 1000:.2f} µs", f"from `f32`: {other / 1000:.2f} µs", own / other, "")

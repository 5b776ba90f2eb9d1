"""Resident memory: of a gateway that has done nothing, and of one whose memory tier is full."""

from collections.abc import Iterator

from backend_bench import HEADERS, MIB, Bench, mebibytes, request, row
from harness.client import send
from harness.processes import memory_bytes

IDLE_LIMIT = 32 * MIB
TIER = 256 * MIB
FULL_LIMIT = TIER * 5 // 4 + 64 * MIB
BATCH = 256
# An entry takes at least its vector, as float16s.
ENTRY_BYTES = 1536 * 2


def rows(bench: Bench) -> Iterator[str]:
    gateway, server = bench.gateway(MEMORY_CACHE_BYTES=f"{TIER // MIB}MiB")
    send(gateway.url, "GET", "/healthz")
    yield row("resident memory, idle", mebibytes(memory_bytes(server.process.pid)), "", None, f"< {mebibytes(IDLE_LIMIT)}")
    # A tenth more than fits.
    for first in range(0, TIER * 11 // 10 // ENTRY_BYTES, BATCH):
        assert send(gateway.url, "POST", "/v1/embeddings", request(BATCH, first), HEADERS).status == 200
    what = f"resident memory at its peak, memory tier of {TIER // MIB} MiB full"
    yield row(what, mebibytes(memory_bytes(server.process.pid, "VmHWM")), "", None, f"≤ {mebibytes(FULL_LIMIT)}")
    gateway.process.stop()

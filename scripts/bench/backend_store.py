"""Hits in the store: a batch whose vectors all lie in a local S3 server, against fetching the same objects and nothing else."""

import json
import os
import subprocess
from collections.abc import Iterator

from backend_bench import HEADERS, Bench, Sample, middle, on_cores, ratio, request, row
from harness.client import send
from harness.programs import START_SECONDS
from harness.s3 import BUCKET, S3Server
from harness.waiting import eventually
from measuring import MEASURED_CORES, OTHER_CORES, SECONDS, rounds

BATCH = 64
PATH = "/v1/embeddings"


def rows(bench: Bench) -> Iterator[str]:
    with on_cores(OTHER_CORES):
        bucket = S3Server(bench.folder / "s3")
    gateway, server = bench.gateway(MEMORY_CACHE_BYTES="0", **bucket.variables())
    body = request(BATCH)
    assert send(gateway.url, "POST", PATH, body, HEADERS).status == 200
    eventually(lambda: gateway.stored("ok") >= BATCH, START_SECONDS, "the writes")
    hit = send(gateway.url, "POST", PATH, body, HEADERS)
    assert hit.cache_status == "embedding-gateway; hit", hit.cache_status
    file = bench.file(body)
    environment = {
        **os.environ,
        "AWS_ENDPOINT": bucket.endpoint,
        "AWS_REGION": "us-east-1",
        **{name: value for name, value in bucket.variables().items() if name.startswith("AWS_")},
    }

    def measure(name: str) -> Sample:
        if name == "gateway":
            return bench.measure(server, file, 1, PATH, HEADERS)
        with on_cores(MEASURED_CORES):
            command = [bench.executables["bare_store"], BUCKET, str(BATCH), str(SECONDS)]
            ran = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
        return Sample(0, json.loads(ran.stdout)["p50_us"], 0)

    results = rounds([("gateway",), ("alone",)], measure)
    samples, others = results["gateway",], results["alone",]
    times = [f"{middle(each, 'p50_us') / 1000:.2f} ms" for each in (samples, others)]
    yield row(f"hits in the store, batch of {BATCH}, 1 connection", times[0], f"`object_store` alone: {times[1]}", ratio(samples, others, "p50_us"), "≤ 1.3")
    assert gateway.stored("timeout", "get") == 0 and gateway.stored("failed", "get") == 0
    gateway.process.stop()
    bucket.stop()

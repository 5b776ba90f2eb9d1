"""Measures the backend against programs that do nothing else than the part in question; prints Markdown.

What is measured has one core to itself; load, upstream and store share the others. Ratios are taken within a round.
"""

import argparse
import json
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import backend_admission
import backend_hits
import backend_memory
import backend_passthrough
import backend_store
from backend_bench import Bench
from filter_measure import GATEWAY_CORES
from system import Standin

HEADING = """## Backend

The gateway, or its yardstick, has one core to itself; wrk, the upstream and the store share the others. Median of {rounds} rounds of
{seconds} s, ratios within a round. Vectors have 1,536 dimensions; the gateway logs no line a request unless it is said.

| what | backend | yardstick | ratio | wanted |
|---|---|---|---|---|"""


def executables(builds: Path) -> dict[str, Path]:
    """By name, the programs that cargo reported."""
    messages = (json.loads(line) for line in builds.read_text().splitlines())
    return {message["target"]["name"]: Path(message["executable"]) for message in messages if message.get("executable")}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, required=True)
    parser.add_argument("--seconds", type=int, required=True)
    parser.add_argument("--builds", type=Path, required=True)
    options = parser.parse_args()
    print(HEADING.format(rounds=options.rounds, seconds=options.seconds))
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        standin = Standin(folder / "standin")
        stack.callback(standin.process.stop)
        bench = Bench(folder, standin.url, executables(options.builds), options.rounds, options.seconds, GATEWAY_CORES)
        for part in (backend_hits, backend_store, backend_passthrough, backend_memory):
            for row in part.rows(bench):
                print(row, flush=True)
                print(row, file=sys.stderr)
        print("\n" + backend_admission.table(bench))


if __name__ == "__main__":
    main()

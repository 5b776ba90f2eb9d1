"""Measures the backend against programs that do nothing else than the part in question; prints Markdown.

What is measured has one core to itself; load, upstream and store share the others. Ratios are taken within a round.
"""

import sys

import backend_admission
import backend_hits
import backend_memory
import backend_passthrough
import backend_store
import backend_vectors
from backend_bench import running_bench
from measuring import ROUNDS, SECONDS

HEADING = """## Backend

The gateway, or its yardstick, has one core to itself; wrk, the upstream and the store share the others. Median of {rounds} rounds of
{seconds} s, ratios within a round; of single hits {processes} rounds, with a process for each measurement. Vectors have 1,536 dimensions; the gateway logs no line a request unless it is said.

| what | backend | yardstick | ratio | wanted |
|---|---|---|---|---|"""


def main() -> None:
    print(HEADING.format(rounds=ROUNDS, processes=backend_hits.PROCESSES, seconds=SECONDS))
    with running_bench() as bench:
        for part in (backend_hits, backend_store, backend_passthrough, backend_memory, backend_vectors):
            for row in part.rows(bench):
                print(row, flush=True)
                print(row, file=sys.stderr)
        print("\n" + backend_admission.table(bench))


if __name__ == "__main__":
    main()

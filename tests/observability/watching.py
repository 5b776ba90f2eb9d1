"""One load on one chain under one Prometheus: what it did, and what the dashboard shows of it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import load
from dashboard import Watched, read
from harness.chain import start_chain, stop_chain
from stack import watching

# Enough for a minute of repeats; what is stored first is found in the store after the restart.
STORED_BATCHES = 40


class Onlooker(Protocol):
    """An operator who looks on while the load runs."""

    def finish(self) -> None:
        """The load has ended; the chain still runs."""


@contextmanager
def watch(folder: Path, beside: Callable[[str], Onlooker] | None = None) -> Iterator[Watched]:
    """Runs the load on a chain in `folder`, twice started so that its store holds something, and reads the dashboard."""
    chain = start_chain(folder / "chain")
    try:
        stored = load.remember(chain, STORED_BATCHES)
    finally:
        stop_chain(chain)
    chain = start_chain(folder / "chain")
    try:
        load.earn_hits(chain)
        with watching(chain, folder / "stack") as stack:
            onlooker = beside(chain.url) if beside else None
            books = load.run(chain, stored)
            stack.end()
            if onlooker:
                onlooker.finish()
            yield Watched(books, read(stack), (stack.began, stack.ended))
    finally:
        stop_chain(chain)

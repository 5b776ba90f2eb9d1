"""What the rules of admission to the store save and cost, on a stream of inputs of which most are asked for only once."""

import random
from pathlib import Path

from backend_bench import Bench
from harness.gateway import Gateway

INPUTS = 20_000
ONE_OFFS = 0.6
BATCH = 50
# About a tenth of the different inputs fit: an entry of 8 dimensions weighs 356 bytes.
MEMORY_BYTES = 1400 * 356
# 4 bytes are a token to the stand-in: questions of 5 to 15 tokens, passages of 50 to 150.
LENGTHS = ((0.4, 20, 60), (0.6, 200, 600))
MIN_TOKENS = "20"
RULES = {
    "`always`": {},
    "`second-use`": {"STORE_ADMISSION": "second-use"},
    f"`always`, `STORE_MIN_TOKENS={MIN_TOKENS}`": {"STORE_MIN_TOKENS": MIN_TOKENS},
    f"`second-use`, `STORE_MIN_TOKENS={MIN_TOKENS}`": {"STORE_ADMISSION": "second-use", "STORE_MIN_TOKENS": MIN_TOKENS},
}
HEADING = """### Admission to the store

{inputs:,} inputs, {one_offs:.0%} of them asked for only once, the others 2 to {most} times (popular ones more often), in random order and batches of
{batch}; {short:.0%} of the texts have 5 to 15 tokens, the others 50 to 150. A tenth of the different inputs fits into memory, and the gateway is started
anew halfway.

| rule | PUTs | saved | hits | lost |
|---|---|---|---|---|"""


def stream() -> list[str]:
    """The same inputs in the same order every time."""
    chance = random.Random(1)
    numbers = list(range(round(INPUTS * ONE_OFFS)))
    rank = 0
    while len(numbers) < INPUTS:
        rank += 1
        uses = min(2 + 300 // rank, INPUTS - len(numbers))
        # The last one must not be a one-off.
        uses += INPUTS - len(numbers) - uses == 1
        numbers += [-rank] * uses
    chance.shuffle(numbers)
    return [text(number) for number in numbers]


def text(number: int) -> str:
    chance = random.Random(f"length of {number}")
    (_, least, most) = chance.choices(LENGTHS, [share for share, _, _ in LENGTHS])[0]
    return f"{number} ".ljust(chance.randrange(least, most), "x")


def follow(bench: Bench, folder: Path, rule: dict[str, str]) -> tuple[int, int]:
    """Runs the stream through two gateways, one after the other; objects written, and hits."""
    inputs = stream()
    hits = 0
    for half in (inputs[: INPUTS // 2], inputs[INPUTS // 2 :]):
        gateway, _ = bench.gateway(STORE=f"file://{folder}", MEMORY_CACHE_BYTES=str(MEMORY_BYTES), STORE_TIMEOUT="60s", **rule)
        gateway.embed("to be accepted")
        for first in range(0, len(half), BATCH):
            assert gateway.embed(half[first : first + BATCH]).status == 200
        hits += sum(outcome(gateway, name) for name in ("memory", "store", "repeat"))
        assert gateway.stop() == 0
    return sum(1 for path in folder.rglob("*") if path.is_file()), hits


def outcome(gateway: Gateway, name: str) -> int:
    return gateway.metric(f'embedding_gateway_inputs_total{{outcome="{name}"}}')


def table(bench: Bench) -> str:
    found = {}
    for number, (name, rule) in enumerate(RULES.items()):
        folder = bench.folder / f"store-{number}"
        folder.mkdir()
        found[name] = follow(bench, folder, rule)
    most = 2 + 300
    lines = [HEADING.format(inputs=INPUTS, one_offs=ONE_OFFS, most=most, batch=BATCH, short=LENGTHS[0][0])]
    (all_puts, all_hits) = found["`always`"]
    for name, (puts, hits) in found.items():
        lines.append(f"| {name} | {puts:,} | {1 - puts / all_puts:.0%} | {hits:,} | {1 - hits / all_hits:.1%} |")
    return "\n".join(lines)

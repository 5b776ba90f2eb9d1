#!/usr/bin/env python3
"""Replaces one part of docs/benchmarks.md: `report.py PART COMMAND < tables.md`.

A part stands between two markers, under the machine and the command that brought it; the rest of the page is left alone.
"""

import os
import platform
import re
import sys
from pathlib import Path

PAGE = Path(os.environ.get("BENCH_DOCS", Path(__file__).resolve().parents[2] / "docs")) / "benchmarks.md"
# What the page says before any part has run.
HEADING = """# Benchmarks

Every table here was written by `scripts/bench.sh` and is replaced when it runs again. Ratios compare rounds of one run,
interleaved on the same cores; absolute figures hold for the machine that is named with them.
"""


def machine() -> str:
    """Cores, memory and processor, as far as the kernel tells."""
    models = re.findall(r"^model name\s*: (.*)$", _read("/proc/cpuinfo"), re.MULTILINE)
    kibibytes = re.search(r"^MemTotal:\s*(\d+)", _read("/proc/meminfo"), re.MULTILINE)
    memory = f", {round(int(kibibytes.group(1)) / (1 << 20))} GiB" if kibibytes else ""
    return f"{os.cpu_count()} cores of {models[0] if models else platform.processor()}{memory}, {platform.system()} {platform.machine()}"


def _read(file: str) -> str:
    try:
        return Path(file).read_text()
    except OSError:
        return ""


def replace(page: str, part: str, text: str) -> str:
    """The page with `text` as that part, at its old place or at the end."""
    begin, end = f"<!-- begin {part} -->", f"<!-- end {part} -->"
    block = f"{begin}\n{text.strip()}\n{end}"
    before, found, rest = page.partition(begin)
    if not found:
        return f"{page.rstrip()}\n\n{block}\n"
    return before + block + rest.partition(end)[2]


def main(part: str, command: str) -> None:
    tables = sys.stdin.read().strip()
    text = f"{tables}\n\nMachine: {machine()}. Command: `{command}`."
    page = PAGE.read_text() if PAGE.exists() else HEADING
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(replace(page, part, text))
    print(text)


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Other builds of the same module: Envoy tells modules apart by the hash of their bytes."""

import itertools
from pathlib import Path

# A custom section (WebAssembly core specification, 5.5.3): id 0, size, name. It changes the bytes and nothing else.
_CUSTOM_SECTION_ID = 0
_builds = itertools.count()


def another_build(module: Path, target: Path) -> Path:
    """Writes a module that does the same and that Envoy has never seen."""
    name = f"build {next(_builds)}".encode()
    section = bytes([_CUSTOM_SECTION_ID, len(name) + 1, len(name)]) + name
    target.write_bytes(module.read_bytes() + section)
    return target

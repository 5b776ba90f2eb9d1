"""Where the repository keeps what the tests run. Refuses to guess: what is missing is named with the command that makes it."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ROOT / ".tools"
_SETUP = (ROOT / "scripts/setup.sh").read_text()


def _pinned(name: str) -> list[str]:
    """The versions that scripts/setup.sh, which installs them, pins under this name."""
    line = re.search(rf"^readonly {name}=\(?([^)\n]*)\)?$", _SETUP, re.MULTILINE)
    return line.group(1).split()


# The Envoy that the whole tables run on, and the others.
(ENVOY_VERSION,) = _pinned("ENVOY_VERSION")
OTHER_ENVOY_VERSIONS = _pinned("OTHER_ENVOYS")
FILTER_MODULE = ROOT / "target/wasm32-wasip1/release/body_hash_filter.wasm"
FILTER_BUILD = "cargo build --release --target wasm32-wasip1"


def envoy_binary(version: str = ENVOY_VERSION) -> Path:
    """The Envoy of that version; FileNotFoundError when it is not installed."""
    binary = TOOLS / "bin" / f"envoy-{version}"
    if not binary.exists():
        raise FileNotFoundError(f"no Envoy {version}: run scripts/setup.sh envoy envoys")
    return binary


def filter_module() -> Path:
    """The release build of the body-hash filter; FileNotFoundError with the command that builds it."""
    if not FILTER_MODULE.exists():
        raise FileNotFoundError(f"no {FILTER_MODULE.name}: run `{FILTER_BUILD}` in the root of the repository")
    return FILTER_MODULE

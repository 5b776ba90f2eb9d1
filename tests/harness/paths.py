"""Where the repository keeps what the tests run. Refuses to guess: what is missing is named with the command that makes it."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ROOT / ".tools"
# The Envoy that the whole table runs on; scripts/setup.sh installs it as .tools/bin/envoy too.
ENVOY_VERSION = "1.40.0"
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

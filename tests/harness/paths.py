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
# These run the native module alone.
ENVOY_VERSIONS_WITHOUT_WASM = _pinned("ENVOYS_WITHOUT_WASM")
# The module's ABI is that of 1.38.
ENVOY_VERSIONS_WITHOUT_NATIVE = [version for version in OTHER_ENVOY_VERSIONS if version < "1.38"]
FILTER_MODULE = ROOT / "target/wasm32-wasip1/release/body_hash_filter.wasm"
FILTER_BUILD = "cargo build --release --target wasm32-wasip1"
NATIVE_MODULE = ROOT / "target/release/libbody_hash_filter.so"
NATIVE_BUILD = "cargo build --release --package body-hash-filter-native"


def envoy_binary(version: str = ENVOY_VERSION) -> Path:
    """The Envoy of that version; FileNotFoundError when it is not installed."""
    binary = TOOLS / "bin" / f"envoy-{version}"
    if not binary.exists():
        raise FileNotFoundError(f"no Envoy {version}: run scripts/setup.sh envoy envoys")
    return binary


def filter_module() -> Path:
    """The release build of the body-hash filter; FileNotFoundError with the command that builds it."""
    return _built(FILTER_MODULE, FILTER_BUILD)


def native_module() -> Path:
    """The release build of the native module; FileNotFoundError with the command that builds it."""
    return _built(NATIVE_MODULE, NATIVE_BUILD)


def _built(file: Path, command: str) -> Path:
    if not file.exists():
        raise FileNotFoundError(f"no {file.name}: run `{command}` in the root of the repository")
    return file

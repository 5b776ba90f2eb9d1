"""A repository with only what scripts/images.sh reads, and programs that write down what it asks of them."""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from harness.paths import ROOT

from . import render
from .objects import Manifests

# A tool and a cargo that write down what they are asked, and make what the script expects of them.
_TOOL = """#!/bin/sh
echo "$(basename "$0") $*" >>"$CALLS"
for last; do :; done
case $1 in build) ls "$last" >>"$CALLS" ;; esac
while [ $# -gt 0 ]; do
  case $1 in --digestfile) printf 'sha256:%064d' 1 >"$2" ;; imagetools) [ "$2" != inspect ] || printf 'sha256:%064d\\n' 1 ;; esac
  shift
done
"""
DIGEST = f"sha256:{1:064d}"
_CARGO = """#!/bin/sh
echo "cargo $*" >>"$CALLS"
echo "of commit ${GIT_COMMIT-none}" >>"$CALLS"
mkdir -p target/wasm32-wasip1/release
for last in "$@"; do [ "$before" != --profile ] || profile=$last; before=$last; done
for processor in x86_64 aarch64; do
  folder=target/$processor-unknown-linux-musl/${profile:-release}
  mkdir -p "$folder"
  echo $processor | tee "$folder/embedding-gateway" >"$folder/endpoint-broadcaster"
done
touch target/wasm32-wasip1/release/body_hash_filter.wasm
for processor in x86_64 aarch64; do
  mkdir -p target/$processor-unknown-linux-gnu/release
  echo $processor >target/$processor-unknown-linux-gnu/release/libbody_hash_filter.so
done
"""
_SETUP = """#!/bin/sh
echo "setup $*" >>"$CALLS"
"""


@dataclass
class Checkout:
    """A repository with only what the script reads."""

    root: Path
    programs: Path
    calls: Path

    def run(self, *parts: str, tool: str = "podman", **variables: str) -> subprocess.CompletedProcess:
        self._program(tool, _TOOL)
        return self.run_with(tool, *parts, **variables)

    def run_with(self, tool: str, *parts: str, **variables: str) -> subprocess.CompletedProcess:
        """With the real tool, where it has no program of this checkout in its place."""
        inherited = {"PATH": f"{self.programs}:{os.environ['PATH']}", "CALLS": str(self.calls), "TOOL": tool}
        command = [self.root / "scripts/images.sh", *parts]
        return subprocess.run(command, env=inherited | variables, capture_output=True, text=True, timeout=300)

    def _program(self, name: str, text: str) -> None:
        (self.programs / name).write_text(text)
        (self.programs / name).chmod(0o755)

    def commit(self) -> str:
        """Commits all that is there, and says how the script calls the commit."""
        git = ["git", "-C", self.root, "-c", "user.name=test", "-c", "user.email=test@example.com"]
        for command in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "--message", "All"]):
            subprocess.run([*git, *command], check=True)
        return subprocess.check_output([*git, "rev-parse", "--short=12", "HEAD"], text=True).strip()

    def asked(self) -> list[str]:
        return self.calls.read_text().splitlines()

    def rendered(self, overlay: str = "pinned") -> Manifests:
        return render.build(self.root / "kustomize/overlays" / overlay)


def make(folder: Path) -> Checkout:
    root = folder / "root"
    render.copy(root)
    (root / "scripts").mkdir()
    shutil.copy(ROOT / "scripts/images.sh", root / "scripts")
    programs = folder / "programs"
    programs.mkdir()
    made = Checkout(root, programs, folder / "calls")
    made._program("cargo", _CARGO)
    (root / "scripts/setup.sh").write_text(_SETUP)
    (root / "scripts/setup.sh").chmod(0o755)
    return made

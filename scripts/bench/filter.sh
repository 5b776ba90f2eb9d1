#!/usr/bin/env bash
# What the body-hash filter adds to an Envoy: latency, requests per second, bytes hashed per second.
#
# usage: scripts/bench.sh filter
#   BENCH_ROUNDS=5   rounds, each of which measures everything once
#   BENCH_SECONDS=2  seconds for each measurement
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
readonly ROOT
# Builds for measuring stay out of the way of the builds that ship.
readonly BUILDS="$ROOT/target/bench"

# Builds the filter as it ships, but with these compiler flags in place of those of .cargo/config.toml.
build() {
  local name=$1 flags=$2
  RUSTFLAGS="$flags" CARGO_TARGET_DIR="$BUILDS/$name" \
    cargo build --quiet --release --package body-hash-filter --target wasm32-wasip1
}

main() {
  "$ROOT/scripts/setup.sh" rust envoy python bench
  cd "$ROOT"
  build simd "-C target-feature=+simd128"
  build scalar "-C target-feature=-simd128"
  local rounds=${BENCH_ROUNDS:-5} seconds=${BENCH_SECONDS:-2}
  PYTHONPATH="$ROOT/tests" "$ROOT/.tools/venv/bin/python" "$ROOT/scripts/bench/filter_measure.py" \
    --rounds "$rounds" --seconds "$seconds" --builds "$BUILDS" >"$BUILDS/filter.md"
  "$ROOT/scripts/bench/report.py" filter "BENCH_ROUNDS=$rounds BENCH_SECONDS=$seconds scripts/bench.sh filter" <"$BUILDS/filter.md"
}

main "$@"

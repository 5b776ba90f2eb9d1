#!/usr/bin/env bash
# What the backend makes of a machine: hits, batches, the store, pass-through, memory, admission.
#
# usage: scripts/bench.sh backend
#   BENCH_ROUNDS=5   rounds, each of which measures everything once
#   BENCH_SECONDS=2  seconds for each measurement
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
readonly ROOT
readonly OUTPUT="$ROOT/target/bench"

# The programs as they ship, and the yardsticks; cargo says where it put them.
build() {
  cargo build --quiet --release --locked --package embedding-gateway --bin embedding-gateway --example openai-standin
  cargo build --quiet --release --locked --package embedding-gateway --benches --message-format=json >"$OUTPUT/backend-builds.json"
}

main() {
  "$ROOT/scripts/setup.sh" rust envoy python bench
  cd "$ROOT"
  mkdir -p "$OUTPUT"
  build
  local rounds=${BENCH_ROUNDS:-5} seconds=${BENCH_SECONDS:-2}
  PYTHONPATH="$ROOT/tests:$ROOT/tests/backend" "$ROOT/.tools/venv/bin/python" "$ROOT/scripts/bench/backend_measure.py" \
    --rounds "$rounds" --seconds "$seconds" --builds "$OUTPUT/backend-builds.json" >"$OUTPUT/backend.md"
  "$ROOT/scripts/bench/report.py" backend "BENCH_ROUNDS=$rounds BENCH_SECONDS=$seconds scripts/bench.sh backend" <"$OUTPUT/backend.md"
}

main "$@"

#!/usr/bin/env bash
# What counting, logging and tracing cost a hit in memory.
#
# usage: scripts/bench.sh telemetry
#   BENCH_ROUNDS=7   rounds, each of which measures everything once
#   BENCH_SECONDS=2  seconds for each measurement
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
readonly ROOT
readonly OUTPUT="$ROOT/target/bench"

# The programs as they ship, and what counts alone; cargo says where it put that.
build() {
  cargo build --quiet --release --locked --package embedding-gateway --bin embedding-gateway --example openai-standin
  cargo build --quiet --release --locked --package embedding-gateway --bench metrics_cost --message-format=json >"$OUTPUT/telemetry-builds.json"
}

main() {
  "$ROOT/scripts/setup.sh" rust envoy python bench
  cd "$ROOT"
  mkdir -p "$OUTPUT"
  build
  local rounds=${BENCH_ROUNDS:-7} seconds=${BENCH_SECONDS:-2}
  PYTHONPATH="$ROOT/tests:$ROOT/tests/backend" "$ROOT/.tools/venv/bin/python" "$ROOT/scripts/bench/telemetry_measure.py" \
    --rounds "$rounds" --seconds "$seconds" --builds "$OUTPUT/telemetry-builds.json" >"$OUTPUT/telemetry.md"
  "$ROOT/scripts/bench/report.py" telemetry "BENCH_ROUNDS=$rounds BENCH_SECONDS=$seconds scripts/bench.sh telemetry" <"$OUTPUT/telemetry.md"
}

main "$@"

#!/usr/bin/env bash
# Measures on this machine and writes docs/benchmarks.md.
#
# usage: [BENCH_ROUNDS=5] [BENCH_SECONDS=2] scripts/bench.sh [PART...]          (no part: all of them)
#   BENCH_ROUNDS   rounds, each of which measures everything once; each part has a number of its own if it is not set
#   BENCH_SECONDS  seconds for each measurement; varnish counts hits instead
#
#   backend    what the backend makes of a machine: hits, batches, the store, pass-through, memory, admission
#   filter     what the body-hash filter adds to an Envoy: latency, requests per second, bytes hashed per second
#   telemetry  what counting, logging and tracing cost a hit in memory
#   varnish    what 10,000 bans cost a hit in Varnish, with the ban lurker and without
#
# Each part installs what it needs, prints its tables in Markdown and replaces its own part of docs/benchmarks.md. Every
# ratio is taken within one run, in interleaved rounds; absolute figures hold for this machine only.
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
readonly ROOT
readonly PARTS=(backend filter telemetry varnish)
# What is built for measuring alone stays out of the way of what ships. As scripts/bench/measuring.py has it.
readonly BUILDS="$ROOT/target/bench"

setup() { "$ROOT/scripts/setup.sh" "$@"; }

# The programs as they ship, and those that measure alone; cargo says where it put these.
build_backend() {
  cargo build --quiet --release --locked --package embedding-gateway --bin embedding-gateway
  cargo build --quiet --release --locked --package openai-standin
  # Apart, because these need more of libraries, and would be built with the programs in that form.
  CARGO_TARGET_DIR="$BUILDS/yardsticks" \
    cargo build --quiet --release --locked --package embedding-gateway --benches --message-format=json >"$BUILDS/backend.json"
}

# The filter as it ships, but with these compiler flags in place of those of .cargo/config.toml.
build_filter() {
  local name=$1 flags=$2
  RUSTFLAGS="$flags" CARGO_TARGET_DIR="$BUILDS/$name" \
    cargo build --quiet --release --locked --package body-hash-filter --target wasm32-wasip1
}

# measure PART VARIABLE=VALUE...
measure() {
  local part=$1
  shift
  env "$@" PYTHONPATH="$ROOT/tests" "$ROOT/.tools/venv/bin/python" "$ROOT/scripts/bench/${part}_measure.py" >"$BUILDS/$part.md"
  "$ROOT/scripts/bench/report.py" "$part" "$* scripts/bench.sh $part" <"$BUILDS/$part.md"
}

part_backend() {
  setup rust envoy python bench
  build_backend
  measure backend "BENCH_ROUNDS=${BENCH_ROUNDS:-5}" "BENCH_SECONDS=${BENCH_SECONDS:-2}"
}

part_filter() {
  setup rust envoy python bench
  build_filter simd "-C target-feature=+simd128"
  build_filter scalar "-C target-feature=-simd128"
  measure filter "BENCH_ROUNDS=${BENCH_ROUNDS:-5}" "BENCH_SECONDS=${BENCH_SECONDS:-2}"
}

part_telemetry() {
  setup rust envoy python bench
  build_backend
  measure telemetry "BENCH_ROUNDS=${BENCH_ROUNDS:-7}" "BENCH_SECONDS=${BENCH_SECONDS:-2}"
}

part_varnish() {
  setup python varnish
  measure varnish "BENCH_ROUNDS=${BENCH_ROUNDS:-3}"
}

main() {
  local part known=" ${PARTS[*]} "
  case ${1:-} in -h | --help) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"; exit 0 ;; esac
  [ $# -gt 0 ] || set -- "${PARTS[@]}"
  for part in "$@"; do
    [[ $known == *" $part "* ]] || { echo "bench.sh: no part is called '$part'; there are: ${PARTS[*]}" >&2; exit 2; }
  done
  cd "$ROOT"
  mkdir -p "$BUILDS"
  for part in "$@"; do
    echo "== $part" >&2
    "part_$part"
  done
}

main "$@"

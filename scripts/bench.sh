#!/usr/bin/env bash
# Measures on this machine and writes docs/benchmarks.md.
#
# usage: [BENCH_ROUNDS=5] [BENCH_SECONDS=2] [BENCH_DOCS=docs] scripts/bench.sh [--seconds N] [PART...]
#   PART           all of them where none is named, or all
#   BENCH_ROUNDS   rounds, each of which measures everything once; each part has a number of its own if it is not set
#   BENCH_SECONDS  whole seconds for each measurement, or what the part has if it is not set; varnish counts hits instead
#   --seconds N    the same
#   BENCH_DOCS     the folder whose benchmarks.md, and benchmarks/ with tables and pictures, it writes
#
#   backend    what the backend makes of a machine: hits, batches, the store, pass-through, memory, admission
#   filter     what the body-hash filter adds to an Envoy, in wasm and native, and what the chain adds that it replaces
#   peers      other gateways and caches beside this one: nginx, LiteLLM, Portkey
#   chain      hits in Varnish through an Envoy with the filter, beside a plain GET
#   growth     how time and memory grow with inputs, keys, connections, bodies and replicas
#   upstream   what stands between a miss and the upstream: its cost, a backlog at a limit, fairness, shared calls, failover
#   telemetry  what counting, logging and tracing cost a hit in memory
#   soak       memory, descriptors, threads and stores of the chain in 30 minutes of mixed load; exits 1 if one grows
#   varnish    what 10,000 bans cost a hit in Varnish, with the ban lurker and without
#
# Each part installs what it needs, prints its tables in Markdown and replaces its own part of docs/benchmarks.md. Every
# ratio is taken within one run, in interleaved rounds; absolute figures hold for this machine only.
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
readonly ROOT
readonly PARTS=(filter peers chain growth backend upstream telemetry soak varnish)
# What is built for measuring alone stays out of the way of what ships. As scripts/bench/measuring.py has it.
readonly BUILDS="$ROOT/target/bench"
readonly DOCS=${BENCH_DOCS:-$ROOT/docs}
# What is measured is what ships: the harness looks for the programs in this profile's folder.
export BUILD_PROFILE=release

setup() { "$ROOT/scripts/setup.sh" "$@"; }

# The programs as they ship.
build_gateway() {
  cargo build --quiet --release --locked --package embedding-gateway --bin embedding-gateway
  cargo build --quiet --release --locked --package openai-standin
}

# Those that measure alone, too; cargo says where it put these.
build_backend() {
  build_gateway
  # Apart, because these need more of libraries, and would be built with the programs in that form.
  CARGO_TARGET_DIR="$BUILDS/yardsticks" \
    cargo build --quiet --release --locked --package embedding-gateway --benches --message-format=json >"$BUILDS/backend.json"
}

# The filter's other forms: in wasm with and without SIMD, native, and what it replaces.
build_filters() {
  build_filter simd "-C target-feature=+simd128"
  build_filter scalar "-C target-feature=-simd128"
  cargo build --quiet --release --locked --package ext-proc-hasher
  cargo build --quiet --release --locked --package body-hash-filter-native
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
  mkdir -p "$DOCS"
  env "$@" BENCH_DOCS="$DOCS" PYTHONPATH="$ROOT/tests" "$ROOT/.tools/venv/bin/python" "$ROOT/scripts/bench/${part}_measure.py" >"$BUILDS/$part.md"
  BENCH_DOCS="$DOCS" "$ROOT/scripts/bench/report.py" "$part" "$* scripts/bench.sh $part" <"$BUILDS/$part.md"
}

part_backend() {
  setup rust envoy python bench
  build_backend
  measure backend "BENCH_ROUNDS=${BENCH_ROUNDS:-5}" "BENCH_SECONDS=${BENCH_SECONDS:-2}"
}

part_filter() {
  setup rust envoy python bench
  build_filters
  measure filter "BENCH_ROUNDS=${BENCH_ROUNDS:-5}" "BENCH_SECONDS=${BENCH_SECONDS:-1}"
}

part_peers() {
  setup rust python bench peers
  build_gateway
  measure peers "BENCH_ROUNDS=${BENCH_ROUNDS:-5}" "BENCH_SECONDS=${BENCH_SECONDS:-2}"
}

part_chain() {
  setup rust envoy python bench varnish
  build_filters
  measure chain "BENCH_ROUNDS=${BENCH_ROUNDS:-5}" "BENCH_SECONDS=${BENCH_SECONDS:-1}"
}

part_growth() {
  setup rust python bench varnish
  build_gateway
  measure growth "BENCH_ROUNDS=${BENCH_ROUNDS:-5}" "BENCH_SECONDS=${BENCH_SECONDS:-1}"
}

part_upstream() {
  setup rust python bench
  build_gateway
  measure upstream "BENCH_ROUNDS=${BENCH_ROUNDS:-3}" "BENCH_SECONDS=${BENCH_SECONDS:-3}"
}

part_telemetry() {
  setup rust envoy python bench
  build_backend
  measure telemetry "BENCH_ROUNDS=${BENCH_ROUNDS:-7}" "BENCH_SECONDS=${BENCH_SECONDS:-2}"
}

part_soak() {
  setup rust envoy python varnish
  cargo build --quiet --release --locked --package embedding-gateway --bins
  cargo build --quiet --release --locked --package openai-standin
  cargo build --quiet --release --locked --target wasm32-wasip1
  measure soak "BENCH_SECONDS=${BENCH_SECONDS:-1800}"
}

part_varnish() {
  setup python varnish
  measure varnish "BENCH_ROUNDS=${BENCH_ROUNDS:-3}"
}

main() {
  local part known=" ${PARTS[*]} "
  case ${1:-} in -h | --help) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"; exit 0 ;; esac
  if [ "${1:-}" = --seconds ]; then
    [[ ${2:-} =~ ^[1-9][0-9]*$ ]] || { echo "bench.sh: --seconds: '${2:-}' is not a number of seconds" >&2; exit 2; }
    BENCH_SECONDS=$2
    shift 2
  fi
  if [ $# -eq 0 ] || [ "$*" = all ]; then set -- "${PARTS[@]}"; fi
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

#!/usr/bin/env bash
# What 10,000 bans cost a hit in Varnish, with the ban lurker and without.
#
# usage: scripts/bench.sh varnish
#   BENCH_ROUNDS=3   rounds, each of which measures everything once
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
readonly ROOT

main() {
  "$ROOT/scripts/setup.sh" python varnish
  local rounds=${BENCH_ROUNDS:-3} tables
  tables=$(PYTHONPATH="$ROOT/tests" "$ROOT/.tools/venv/bin/python" "$ROOT/scripts/bench/varnish_measure.py" --rounds "$rounds")
  "$ROOT/scripts/bench/report.py" varnish "BENCH_ROUNDS=$rounds scripts/bench.sh varnish" <<<"$tables"
}

main "$@"

#!/usr/bin/env bash
# Draws docs/images anew: the dashboard's panels and the page for people, both of the chain under a load of a minute.
#
# usage: scripts/pictures.sh
#
# The figures come from a real Prometheus. Takes some minutes, and more when the programs must be built first.
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
readonly ROOT

main() {
  case ${1:-} in
    "") ;;
    -h | --help) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"; exit 0 ;;
    *) echo "pictures.sh: takes no argument; see --help" >&2; exit 2 ;;
  esac
  "$ROOT/scripts/setup.sh" rust python envoy varnish browser prometheus
  cd "$ROOT/tests"
  PYTHONPATH="$ROOT/tests:$ROOT/tests/observability" "$ROOT/.tools/venv/bin/python" observability/pictures.py
}

main "$@"

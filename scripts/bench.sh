#!/usr/bin/env bash
# Measures on this machine and writes docs/benchmarks.md.
#
# usage: scripts/bench.sh [PART...]
#
# A part is a file scripts/bench/PART.sh; without an argument all of them run, one after the other. Each installs what it
# needs, prints its tables in Markdown and replaces its own part of docs/benchmarks.md. Every ratio is taken within one
# run, in interleaved rounds; absolute figures hold for this machine only.
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
readonly ROOT

usage() {
  sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"
  echo "parts:"
  local file
  for file in "$ROOT"/scripts/bench/*.sh; do printf '  %-10s%s\n' "$(basename "$file" .sh)" "$(sed -n '2s/^# //p' "$file")"; done
}

main() {
  local part
  case ${1:-} in -h | --help) usage && return ;; esac
  [ $# -gt 0 ] || for part in "$ROOT"/scripts/bench/*.sh; do set -- "$@" "$(basename "$part" .sh)"; done
  for part in "$@"; do
    [ -f "$ROOT/scripts/bench/$part.sh" ] || { echo "bench: no part is called '$part'" >&2; usage >&2; exit 2; }
  done
  for part in "$@"; do
    echo "== $part" >&2
    "$ROOT/scripts/bench/$part.sh"
  done
}

main "$@"

#!/usr/bin/env bash
# Runs the .vtc files of the VCL side by side, against the very file that ships and with the parameters of its start
# script.
#
# usage: scripts/varnish-tests.sh [NAME...]      (no name: all; NAME is a file in vtc/ without its ending)
#
# Each promise is one file and its first line. The last line counts them, and the exit status is 1 if any failed.
# Another Varnish on the PATH is tested in place of the machine's: PATH=/opt/varnish/bin:/opt/varnish/sbin:$PATH
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
readonly ROOT
readonly VCL="$ROOT/kustomize/components/varnish"
# Two wait for 70 seconds; the others take as long as compiling their VCL.
readonly SECONDS_A_TEST=150
# Two body hashes, well-formed and different.
readonly HASH=0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
readonly OTHER_HASH=fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210

# Those that wait come first, and the others run meanwhile.
all_names() { (cd "$VCL/vtc" && printf '%s\n' silence_*.vtc *.vtc) | sed 's/[.]vtc$//' | awk '!seen[$0]++'; }

# Prints the whole log of a test that fails, and nothing of one that passes.
run() {
  varnishtest -k -j "$(($(nproc) + 2))" -t "$SECONDS_A_TEST" \
    -D vcl="$PUBLIC" -D start="$("$VCL/start.sh" --parameters | tr '\n' ' ')" \
    -D hash="$HASH" -D upper_hash="${HASH^^}" -D other_hash="$OTHER_HASH" \
    "$@" >"$LOG" 2>&1 || grep -v '^#    top  TEST .* passed' "$LOG" || true
}

main() {
  case ${1:-} in -h | --help) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"; exit 0 ;; esac
  local names passed name
  names=("$@")
  [ $# -gt 0 ] || mapfile -t names < <(all_names)
  for name in "${names[@]}"; do
    [ -f "$VCL/vtc/$name.vtc" ] || { echo "varnish-tests.sh: no test is called '$name'" >&2; exit 2; }
  done
  LOG=$(mktemp)
  # Started by root, varnishd compiles its VCL as another user, which may not read this checkout.
  PUBLIC=$(mktemp -d)
  trap 'rm -rf "$LOG" "$PUBLIC"' EXIT
  cp -R "$VCL/." "$PUBLIC"
  chmod -R a+rX "$PUBLIC"
  varnishd -V 2>&1 | head -n 1
  cd "$PUBLIC/vtc"
  run "${names[@]/%/.vtc}"
  passed=$(grep -c '^#    top  TEST .* passed' "$LOG" || true)
  echo "varnish-tests.sh: $passed passed, $((${#names[@]} - passed)) failed"
  [ "$passed" -eq "${#names[@]}" ]
}

main "$@"

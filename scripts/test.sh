#!/usr/bin/env bash
# Sets up what the tests need on a fresh machine and runs them.
#
# usage: scripts/test.sh [PART...]          (no part: all of them, in this order)
#   lint     rustfmt, clippy with warnings as errors (native and wasm), shellcheck, cargo-deny
#   unit     the Rust tests: unit, property, in-process
#   wasm     the release module: built, and under 200 KiB
#   filter   the filter on a real Envoy, both ways of attachment, every row
#   compat   the same in short on the other Envoys
#   varnish  a .vtc for each promise of the VCL
#   manifests  every object of kustomize/, rendered in every variant and checked offline; images and skaffold.yaml
#   backend  the backend's binary with a real S3 server
#   broadcaster  one purge to three real varnishd, by a real DNS answer
#   chain    scripts/run.sh and the official SDKs through Envoy, Varnish and backend
#   page     the page for people in a headless Chromium, on the chain
#   mesh     kustomize/ on a real Kubernetes and Istio (needs root and MESH_KIT: see tests/mesh/README.md)
#
# All parts run even when one fails; the last line counts them, and the exit status is 1 if any failed.
# A check that cannot run here prints SKIP and why.
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
readonly ROOT
readonly PARTS=(lint unit wasm filter compat varnish manifests backend broadcaster chain page mesh)
readonly MODULE="$ROOT/target/wasm32-wasip1/release/body_hash_filter.wasm"
readonly MODULE_MAX_BYTES=$((200 * 1024))

step() { printf '\n--- %s\n' "$*"; "$@"; }
setup() { step "$ROOT/scripts/setup.sh" "$@"; }
pytest() { step "$ROOT/.tools/venv/bin/python" -m pytest "$@"; }

skip() {
  echo "SKIP: $*"
  echo "$*" >>"$SKIPPED"
}

build_backend() { step cargo build --release --locked --package embedding-gateway --bins --examples; }
build_module() { step cargo build --release --locked --target wasm32-wasip1; }

part_lint() {
  setup rust lint
  step cargo fmt --all --check
  step cargo clippy --workspace --all-targets --locked -- -D warnings
  step cargo clippy --package body-hash-filter --target wasm32-wasip1 --locked -- -D warnings
  git ls-files -z '*.sh' .ci/run | xargs -0 shellcheck
  if command -v cargo-deny >/dev/null; then
    step cargo deny --log-level error check bans licenses sources
  else
    skip "cargo-deny is not installed (cargo install cargo-deny --locked): bans, licences and sources of the dependencies were not checked"
  fi
}

part_unit() {
  setup rust
  step cargo test --workspace --locked --quiet
}

part_wasm() {
  setup rust
  build_module
  local bytes
  bytes=$(stat -c %s "$MODULE")
  echo "body_hash_filter.wasm: $bytes bytes (at most $MODULE_MAX_BYTES)"
  [ "$bytes" -le "$MODULE_MAX_BYTES" ]
}

part_filter() {
  setup rust python envoy
  build_module
  pytest tests/filter -m "not compat"
}

part_compat() {
  setup rust python envoys
  build_module
  pytest tests/filter -m compat
}

part_varnish() {
  setup varnish python
  step scripts/varnish-tests.sh
  pytest tests/varnish
}

part_manifests() {
  setup kustomize python
  pytest tests/manifests
}

part_backend() {
  setup rust python prometheus
  build_backend
  pytest tests/backend
}

part_broadcaster() {
  setup rust python varnish
  build_backend
  pytest tests/broadcaster
}

part_chain() {
  setup rust python envoy varnish node
  build_backend
  pytest tests/chain
}

part_page() {
  setup rust python envoy varnish browser
  pytest tests/page
}

part_mesh() {
  if [ "$(id -u)" -ne 0 ]; then
    skip "mesh: only root can make the namespaces of its Pods"
  elif [ ! -x "${MESH_KIT:-}/bin/kube-apiserver" ]; then
    skip "mesh: MESH_KIT names no folder with a control plane (tests/mesh/README.md)"
  else
    setup rust python envoy varnish mesh
    build_module
    build_backend
    # What it starts ends with these namespaces, whatever happens to it.
    step unshare --net --mount --pid --fork --kill-child --mount-proc "$ROOT/.tools/venv/bin/python" -m pytest tests/mesh
  fi
}

run_part() {
  local part=$1 started=$SECONDS status
  printf '\n=== %s\n' "$part"
  # Not in a condition: there bash would go on after a failing command.
  set +e
  (
    set -e
    "part_$part"
  )
  status=$?
  set -e
  if [ "$status" -eq 0 ]; then
    passed+=("$part ($((SECONDS - started)) s)")
  else
    failed+=("$part ($((SECONDS - started)) s)")
  fi
}

summary() {
  printf '\n=== summary\n'
  [ ${#passed[@]} -eq 0 ] || printf 'passed: %s\n' "${passed[@]}"
  [ ! -s "$SKIPPED" ] || sed 's/^/SKIP:   /' "$SKIPPED"
  [ ${#failed[@]} -eq 0 ] || printf 'FAILED: %s\n' "${failed[@]}"
  echo "test.sh: ${#passed[@]} passed, ${#failed[@]} failed, $(wc -l <"$SKIPPED") skipped"
}

main() {
  local part known
  for part in "$@"; do
    case $part in -h | --help) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"; exit 0 ;; esac
    known=" ${PARTS[*]} "
    [[ $known == *" $part "* ]] || { echo "test.sh: no part is called '$part'; there are: ${PARTS[*]}" >&2; exit 2; }
  done
  [ $# -gt 0 ] || set -- "${PARTS[@]}"
  cd "$ROOT"
  passed=() failed=()
  SKIPPED=$(mktemp)
  trap 'rm -f "$SKIPPED"' EXIT
  for part in "$@"; do run_part "$part"; done
  summary
  [ ${#failed[@]} -eq 0 ]
}

main "$@"

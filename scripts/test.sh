#!/usr/bin/env bash
# Sets up what the tests need on a fresh machine and runs them.
#
# usage: [BUILD_PROFILE=laptop] [TEST_JOBS=3] [CHAOS_SECONDS=40] [MESH_KIT=FOLDER] [MESH_IMAGES=release] scripts/test.sh [PART...]
#                                                                                    (no part: all of them)
#   BUILD_PROFILE  cargo's profile of the backend's programs: laptop, which is built soon, or release, which is what
#               ships; a release of the product is tested so
#   TEST_JOBS   parts at a time, 3 if not set: most of them wait as much as they compute; with 1, or one part, their
#               output comes as it is written, else as they end
#   CHAOS_SECONDS  how long parts of the chain fail at random; 40 if not set
#   CHAOS_SEED  what fails when: a number that an earlier run has printed, or `random`; a kept number if not set
#   MESH_KIT    a folder with a control plane, for the part mesh: see tests/mesh/README.md
#   MESH_IMAGES  release: part mesh runs the static image of scripts/images.sh, of BUILD_PROFILE, which takes a second
#               build of the backend; else the programs that all parts share
#
#   lint     rustfmt, clippy with warnings as errors (native and wasm), shellcheck, actionlint, cargo-deny
#   wasm     the filter's release modules: the wasm one, under 200 KiB, and the native one
#   build    the backend's programs
#   unit     the Rust tests: unit, property, in-process, the kept inputs of the fuzz targets, and the native module's
#            under AddressSanitizer
#   filter   the filter on a real Envoy, every way of attachment, every row
#   compat   the same in short on the other Envoys
#   varnish  a .vtc for each promise of the VCL
#   docs     links, paths, versions and lists in the documents
#   manifests  every object of kustomize/, rendered in every variant and checked offline; images and skaffold.yaml
#   backend  the backend's binary with a real S3 server
#   broadcaster  one purge to three real varnishd, by a real DNS answer
#   chain    scripts/run.sh, the SDKs of docs/clients.md through Envoy, Varnish and backend, and chaos
#   page     the page for people in a headless Chromium, on the chain
#   observability  the dashboard's queries on a real Prometheus that scrapes the chain under load, and the alert rules
#   mesh     kustomize/ on a real node, with a real Kubernetes and Istio (needs root, MESH_KIT and cgroup v1)
#
# All parts run even when one fails; the last line counts them, and the exit status is 1 if any failed.
# A check that cannot run here prints SKIP and why: no root, no MESH_KIT, a kernel that lets no node run, no way to the
# advisory database. A tool that scripts/setup.sh cannot install fails its part.
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
readonly ROOT
# Each begins when a place is free and what it comes after has ended, the first of them first: what others come after,
# then the longest, so that none is left alone at the end.
readonly PARTS=(wasm build mesh unit filter chain compat varnish manifests observability lint backend page broadcaster docs)
readonly JOBS=${TEST_JOBS:-3}
# The tests look for the programs in this profile's folder.
export BUILD_PROFILE=${BUILD_PROFILE:-laptop}
readonly MODULE="$ROOT/target/wasm32-wasip1/release/body_hash_filter.wasm"
readonly MODULE_MAX_BYTES=$((200 * 1024))
# The advisory database is a few megabytes; a network that drops packets keeps a fetch waiting.
readonly FETCH_SECONDS=120

step() { printf '\n--- %s\n' "$*"; "$@"; }
setup() { step "$ROOT/scripts/setup.sh" "$@"; }
pytest() { step "$ROOT/.tools/venv/bin/python" -m pytest "$@"; }

skip() {
  echo "SKIP: $*"
  echo "$*" >>"$SKIPPED"
}

# Once a run: to ask cargo again is to wait for whatever it compiles meanwhile.
once() {
  [ ! -e "$WORK/once-$1" ] || return 0
  "$1"
  touch "$WORK/once-$1"
}

# As scripts/run.sh builds them: one call builds each library once, but what ships has in it nothing that only tests need.
build_backend() {
  local profile=(--locked --profile "$BUILD_PROFILE") gateway=(--package embedding-gateway --bins)
  local standin=(--package openai-standin)
  if [ "$BUILD_PROFILE" = laptop ]; then
    step cargo build "${profile[@]}" "${gateway[@]}" "${standin[@]}"
  else
    step cargo build "${profile[@]}" "${gateway[@]}"
    step cargo build "${profile[@]}" "${standin[@]}"
  fi
}
# For scripts/images.sh, which finds it done where there is no network.
build_static() {
  setup musl
  step cargo build --locked --profile "$BUILD_PROFILE" --target "$(uname -m)-unknown-linux-musl" --package embedding-gateway --bins
}
build_module() { step cargo build --release --locked --target wasm32-wasip1; }
build_native() { step cargo build --release --locked --package body-hash-filter-native; }

part_lint() {
  setup rust lint
  step cargo fmt --all --check
  step cargo clippy --workspace --all-targets --locked -- -D warnings
  step cargo clippy --package body-hash-filter --target wasm32-wasip1 --locked -- -D warnings
  git ls-files -z '*.sh' .ci/run | xargs -0 shellcheck --external-sources
  step "$ROOT/.tools/bin/actionlint"
  step "$ROOT/.tools/bin/cargo-deny" --log-level error check bans licenses sources
  check_advisories
}

# The one check that needs the internet beyond the package registries: a machine without it checks all the rest.
check_advisories() {
  if step timeout "$FETCH_SECONDS" "$ROOT/.tools/bin/cargo-deny" --log-level off fetch db; then
    step "$ROOT/.tools/bin/cargo-deny" --log-level error check --disable-fetch advisories
  else
    skip "advisories: cargo-deny could not fetch the advisory database from GitHub; known vulnerabilities were not checked"
  fi
}

part_unit() {
  setup rust
  step cargo test --workspace --locked --quiet
  sanitize_native
}

# The native module's own tests lead it through its whole ABI. The stable toolchain has the sanitizer's library, and
# takes the flag as a nightly one would.
sanitize_native() {
  local target
  target=$(rustc --print host-tuple)
  RUSTC_BOOTSTRAP=1 RUSTFLAGS=-Zsanitizer=address \
    step cargo test --locked --quiet --package body-hash-filter-native --target "$target" --target-dir target/sanitizer
}

part_wasm() {
  setup rust
  once build_module
  local bytes
  bytes=$(stat -c %s "$MODULE")
  echo "body_hash_filter.wasm: $bytes bytes (at most $MODULE_MAX_BYTES)"
  [ "$bytes" -le "$MODULE_MAX_BYTES" ]
  once build_native
}

part_build() {
  setup rust
  once build_backend
}

part_filter() {
  setup rust python envoy varnish
  once build_module
  once build_native
  pytest tests/filter -m "not compat"
}

part_compat() {
  setup rust python envoys
  once build_module
  once build_native
  pytest tests/filter -m compat
}

part_varnish() {
  setup varnish python
  step scripts/varnish-tests.sh
  pytest tests/varnish
}

part_docs() {
  setup python
  pytest tests/docs
}

part_manifests() {
  setup kustomize python
  pytest tests/manifests
}

part_backend() {
  setup rust python prometheus
  once build_backend
  pytest tests/backend
}

part_broadcaster() {
  setup rust python varnish
  once build_backend
  pytest tests/broadcaster
}

part_chain() {
  setup rust python envoy varnish node langchain go java faketime
  once build_backend
  pytest tests/chain
}

part_page() {
  setup rust python envoy varnish browser
  once build_module
  once build_backend
  pytest tests/page
}

part_observability() {
  setup rust python envoy varnish prometheus
  once build_module
  once build_native
  once build_backend
  pytest tests/observability
}

# What a node needs that no package brings; prints what is not there, before anything starts.
lacks_node() {
  local probe=/sys/fs/cgroup/memory/embedding-gateway-probe
  if [ "$(id -u)" -ne 0 ]; then
    echo "only root can make its namespaces"
  elif [ ! -x "${MESH_KIT:-}/bin/kubelet" ]; then
    echo "MESH_KIT names no folder with a control plane and a kubelet (tests/mesh/README.md)"
  elif ! { [ -d "${probe%/*}" ] && mkdir "$probe" && rmdir "$probe"; } 2>/dev/null; then
    echo "this machine has no control groups of version 1 that can be written"
  fi
}

# What it starts ends with these namespaces, whatever happens to it.
in_namespaces() { unshare --net --mount --uts --ipc --pid --fork --kill-child --mount-proc "$@"; }

part_mesh() {
  local lacking status=0
  lacking=$(lacks_node)
  if [ -n "$lacking" ]; then
    skip "mesh: $lacking"
    return
  fi
  setup rust python envoys envoy varnish mesh machine prometheus
  lacking=$(in_namespaces python3 "$ROOT/tests/mesh/machine/ability.py")
  if [ -n "$lacking" ]; then
    skip "mesh: $lacking"
    return
  fi
  once build_module
  once build_native
  once build_backend
  [ "${MESH_IMAGES:-}" != release ] || build_static
  step in_namespaces "$ROOT/.tools/venv/bin/python" -m pytest tests/mesh --durations=25 || status=$?
  clean_up_node
  return "$status"
}

# What does not end with its namespaces: control groups, each once its last process is gone, and folders that it mounted over.
clean_up_node() {
  local tries
  for tries in {1..20}; do
    find /sys/fs/cgroup/*/embedding-gateway-node -depth -type d -exec rmdir {} + 2>/dev/null && break
    compgen -G '/sys/fs/cgroup/*/embedding-gateway-node' >/dev/null || break
    sleep 0.5
  done
  ((tries < 20)) || echo "control groups of the node are left below /sys/fs/cgroup" >&2
  local folder
  for folder in /var/lib/kubelet /var/lib/cni /etc/cni; do
    # What this machine has in it stays.
    [ ! -d "$folder" ] || rmdir --ignore-fail-on-non-empty "$folder"
  done
}

# Leaves the part's result in a file: it may run in a process of its own.
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
  local result=passed
  [ "$status" -eq 0 ] || result=FAILED
  echo "$result: $part ($((SECONDS - started)) s)" >>"$WORK/results"
}

# The whole output of a part at once, so that those of two do not mix.
run_part_aside() {
  local part=$1
  run_part "$part" >"$WORK/$part.log" 2>&1
  flock "$WORK/results" cat "$WORK/$part.log"
}

# What must have ended before a part begins, where it is wanted, too: what it uses, or what holds cargo's lock.
after() {
  case $1 in
    filter | compat) echo wasm ;;
    lint) echo unit ;;
    unit | backend | broadcaster) echo build ;;
    mesh | chain | page | observability) echo wasm build ;;
  esac
}

# Whether a part that is to run has begun and is no longer running.
has_ended() {
  [ -n "${PIDS[$1]:-}" ] && [[ $RUNNING != *" ${PIDS[$1]} "* ]]
}

may_begin() {
  local before
  for before in $(after "$1"); do
    [[ " $WANTED " != *" $before "* ]] || has_ended "$before" || return 1
  done
}

run_one_by_one() {
  local part
  for part in "$@"; do run_part "$part"; done
}

run_side_by_side() {
  local pending=("$@") place RUNNING
  local -A PIDS=()
  while [ ${#pending[@]} -gt 0 ]; do
    # One look at them all: if a part ended in mid-loop, a later one could begin before an earlier one that waits for it.
    RUNNING=" $(jobs -rp | tr '\n' ' ')"
    for place in "${!pending[@]}"; do
      if (($(wc -w <<<"$RUNNING") < JOBS)) && may_begin "${pending[place]}"; then
        run_part_aside "${pending[place]}" &
        PIDS[${pending[place]}]=$!
        RUNNING+="$! "
        unset "pending[place]"
      fi
    done
    # Not `wait -n`: it overlooks what ended before it began to wait.
    sleep 0.5
  done
  wait
}

# What failed in a part, by the names that pytest, cargo test and varnishtest give it. Parts that run one by one keep no
# log: theirs stands above.
failures_of() {
  [ -f "$WORK/$1.log" ] || return 0
  # A part that fails before its tests has no such line.
  { grep -E '^(FAILED|ERROR) |^---- .* ----$|TEST .* FAILED|^error' "$WORK/$1.log" || [ $? -eq 1 ]; } | cut -c1-200 | sed -n '1,20s/^/    /p'
}

# Failures come last, where the end of a long output shows them.
summary() {
  printf '\n=== summary\n'
  grep ^passed "$WORK/results" || true
  [ ! -s "$SKIPPED" ] || sed 's/^/SKIP:   /' "$SKIPPED"
  local failed part
  while read -r failed part; do
    echo "$failed $part"
    failures_of "${part%% *}"
  done < <(grep ^FAILED "$WORK/results")
  echo "test.sh: $(grep -c ^passed "$WORK/results") passed, $(grep -c ^FAILED "$WORK/results") failed, $(wc -l <"$SKIPPED") skipped"
}

# In the order of their names above, whatever the order they are asked for in.
wanted_of() {
  local part
  for part in "$@"; do
    [[ " $WANTED " != *" $part "* ]] || echo "$part"
  done
}

main() {
  local part known=" ${PARTS[*]} "
  for part in "$@"; do
    case $part in -h | --help) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"; exit 0 ;; esac
    [[ $known == *" $part "* ]] || { echo "test.sh: no part is called '$part'; there are: ${PARTS[*]}" >&2; exit 2; }
  done
  [[ $BUILD_PROFILE =~ ^(laptop|release)$ ]] || { echo "test.sh: BUILD_PROFILE: '$BUILD_PROFILE' is neither laptop nor release" >&2; exit 2; }
  [[ ${MESH_IMAGES:-} =~ ^(release)?$ ]] || { echo "test.sh: MESH_IMAGES: '$MESH_IMAGES' is not release" >&2; exit 2; }
  [[ $JOBS =~ ^[1-9][0-9]?$ ]] || { echo "test.sh: TEST_JOBS: '$JOBS' is not a number of parts" >&2; exit 2; }
  WANTED=${*:-${PARTS[*]}}
  cd "$ROOT"
  WORK=$(mktemp -d)
  SKIPPED="$WORK/skipped"
  touch "$SKIPPED" "$WORK/results"
  trap 'rm -rf "$WORK"' EXIT
  # What runs aside does not hear a Ctrl-C by itself.
  trap 'trap - TERM; kill -TERM 0' INT TERM
  local wanted
  mapfile -t wanted < <(wanted_of "${PARTS[@]}")
  if [ "$JOBS" -eq 1 ] || [ "${#wanted[@]}" -eq 1 ]; then
    run_one_by_one "${wanted[@]}"
  else
    run_side_by_side "${wanted[@]}"
  fi
  summary
  ! grep -q ^FAILED "$WORK/results"
}

main "$@"

#!/usr/bin/env bash
# Looks for inputs that break what the pure parsers promise, led by coverage (libFuzzer, by cargo fuzz).
#
# usage: [FUZZ_SECONDS=60] scripts/fuzz.sh [TARGET...]          (no target: all of them, one after the other)
#   FUZZ_SECONDS  seconds for each target
#
# A target is a file of backend/fuzz/fuzz_targets/ or filter/fuzz/fuzz_targets/. It begins with its kept inputs, corpus/
# beside that folder, which `scripts/test.sh unit` replays; what it learns goes to target/fuzz/corpus/ and stays for the
# next run. What breaks a promise is written to target/fuzz/artifacts/, and the script exits 1: mend the cause and copy
# the input into the target's corpus/.
#
#   scripts/fuzz.sh --keep TARGET...   adds to the kept inputs the fewest of the learnt ones that reach all there is
#
# Needs a C++ compiler. Runs on the pinned stable toolchain: coverage without a sanitizer.
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
readonly ROOT
readonly SECONDS_EACH=${FUZZ_SECONDS:-60}
# Larger inputs teach nothing that small ones do not.
readonly MAX_BYTES=4096
# For one input: a promise of its own.
readonly INPUT_SECONDS=5
readonly INPUT_MEBIBYTES=512
readonly WORK="$ROOT/target/fuzz"

fail() { echo "fuzz.sh: $*" >&2; exit 1; }

targets() { (cd "$ROOT" && printf '%s\n' {backend,filter}/fuzz/fuzz_targets/*.rs); }

# folder_of TARGET: the folder of its crate, as in backend/fuzz.
folder_of() {
  local file
  file=$(targets | grep "/$1\.rs$") || fail "no target is called '$1'; there are: $(targets | xargs -n 1 basename -s .rs | xargs)"
  dirname "$(dirname "$file")"
}

# cargo_fuzz TARGET FOLDER... -- OPTION...: optimised a little, so that it is built soon.
cargo_fuzz() {
  local target=$1
  shift
  CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 CARGO_PROFILE_RELEASE_OPT_LEVEL=1 \
    "$ROOT/.tools/bin/cargo-fuzz" fuzz run --sanitizer none --features libfuzzer \
    --fuzz-dir "$(folder_of "$target")" --target-dir "$WORK/build" "$target" "$@"
}

fuzz() {
  local target=$1 kept
  kept="$ROOT/$(folder_of "$target")/corpus/$target"
  mkdir -p "$WORK/corpus/$target" "$WORK/artifacts"
  echo "== $target: $SECONDS_EACH s"
  cargo_fuzz "$target" "$WORK/corpus/$target" "$kept" -- -max_total_time="$SECONDS_EACH" -max_len="$MAX_BYTES" \
    -timeout="$INPUT_SECONDS" -rss_limit_mb="$INPUT_MEBIBYTES" -artifact_prefix="$WORK/artifacts/$target-" -print_final_stats=1
}

# By edges alone: counters would keep hundreds that differ in how often they go round a loop.
keep() {
  local target=$1 kept
  kept="$ROOT/$(folder_of "$target")/corpus/$target"
  cargo_fuzz "$target" "$kept" "$WORK/corpus/$target" -- -set_cover_merge=1 -use_counters=0 -max_len="$MAX_BYTES"
}

main() {
  local target step=fuzz status=0
  case ${1:-} in
    -h | --help) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"; exit 0 ;;
    --keep) step=keep; shift; [ $# -gt 0 ] || fail "--keep: name the targets" ;;
  esac
  [ $# -gt 0 ] || mapfile -t targets < <(targets | xargs -n 1 basename -s .rs)
  [ $# -gt 0 ] || set -- "${targets[@]}"
  for target in "$@"; do folder_of "$target" >/dev/null; done
  cd "$ROOT"
  scripts/setup.sh rust fuzz
  for target in "$@"; do
    if [ $step = keep ]; then keep "$target"; else fuzz "$target"; fi || status=1
  done
  exit $status
}

main "$@"

#!/usr/bin/env bash
# Builds the images, pushes them, and sets their names and tags in kustomize/components/images.
#
# usage: REGISTRY=registry.example.com/team [TAG=...] [TOOL=docker] scripts/images.sh [backend] [filter]     (no name: both)
#        scripts/images.sh file     no image: the module for the component body-hash-file
#   REGISTRY  what stands before embedding-gateway and body-hash-filter. A registry of this machine needs no TLS
#   TAG       the commit by default, with -dirty if what is built differs from it
#   TOOL      docker, podman or buildah; the first that is there by default
# For skaffold, which names the image itself:
#   IMAGE     the whole name of the one image; only the filter's is set in kustomize/, skaffold sets the other
#   PUSH_IMAGE  false: it stays with the tool
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
readonly ROOT
# The images are for the processor of this machine.
TARGET="$(uname -m)-unknown-linux-musl"
readonly TARGET
readonly PINS="$ROOT/kustomize/components/images/kustomization.yaml"
# What the images are built from. skaffold.yaml follows the same.
readonly SOURCES=(.cargo Cargo.lock Cargo.toml backend filter rust-toolchain.toml)
# One manifest: no list with an attestation beside it, which an agent that wants a module would have to choose from.
export BUILDX_NO_DEFAULT_ATTESTATIONS=1

fail() { echo "images.sh: $*" >&2; exit 1; }

find_tool() {
  local tool
  for tool in ${TOOL:-docker podman buildah}; do
    command -v "$tool" >/dev/null && { echo "$tool"; return; }
  done
  fail "TOOL: install docker, podman or buildah"
}

# The commit that is built. Nothing where there is none, as in an unpacked archive.
commit_id() {
  local commit
  commit=$(git -C "$ROOT" rev-parse --short=12 HEAD 2>/dev/null) || return 0
  git -C "$ROOT" diff --quiet HEAD -- "${SOURCES[@]}" || commit+=-dirty
  echo "$commit"
}

default_tag() {
  local tag
  tag=$(commit_id)
  [ -n "$tag" ] || fail "TAG: set it: there is no commit here to name the image by"
  echo "$tag"
}

build_backend() {
  local commit
  commit=$(commit_id)
  "$ROOT/scripts/setup.sh" rust musl
  (cd "$ROOT" && env ${commit:+GIT_COMMIT="$commit"} cargo build --release --locked --target "$TARGET" --package embedding-gateway --bins)
  cp "$ROOT/target/$TARGET/release/"{embedding-gateway,endpoint-broadcaster} "$1"
}

build_filter() {
  "$ROOT/scripts/setup.sh" rust
  (cd "$ROOT" && cargo build --release --locked --target wasm32-wasip1 --package body-hash-filter)
  cp "$ROOT/target/wasm32-wasip1/release/body_hash_filter.wasm" "$1/plugin.wasm"
}

# build_image PART IMAGE: from a folder that holds what it needs and no more.
build_image() {
  local part=$1 image=$2 context="$WORK/$1" build=(build)
  mkdir -p "$context"
  "build_$part" "$context"
  [ "$tool" != buildah ] || build=(build --format docker)
  "$tool" "${build[@]}" --file "$ROOT/$part/Containerfile" --tag "$image" "$context"
}

push_image() {
  local image=$1 push=(push)
  if [ "$tool" != docker ] && [[ $image =~ ^(localhost|127\.0\.0\.1)(:[0-9]+)?/ ]]; then push=(push --tls-verify=false); fi
  "$tool" "${push[@]}" "$image"
}

# set_pin NAME IMAGE: what kustomize writes wherever a manifest says NAME.
set_pin() {
  local name=$1 new=${2%:*} tag=${2##*:} edited
  edited=$(awk -v name="$name" -v new="$new" -v tag="$tag" '
    /^- name: / { ours = ($3 == name); print; if (ours) { print "  newName: " new; print "  newTag: \"" tag "\""; found = 1 } next }
    ours && /^  (newName|newTag|digest): / { next }
    { ours = ours && /^  /; print }
    END { exit !found }' "$PINS") || fail "$PINS does not name $name"
  printf '%s\n' "$edited" >"$PINS"
}

publish() {
  local part=$1 repository=$2 image
  image=${IMAGE:-${REGISTRY:?is not set: where should the images go?}/$repository:${TAG:-$(default_tag)}}
  build_image "$part" "$image"
  [ "${PUSH_IMAGE:-true}" != true ] || push_image "$image"
  case $part in
    filter) set_pin oci://body-hash-filter "oci://$image" ;;
    backend) [ -n "${IMAGE:-}" ] || set_pin embedding-gateway "$image" ;;
  esac
  echo "$image"
}

main() {
  case ${1:-} in -h | --help) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"; exit 0 ;; esac
  [ $# -gt 0 ] || set -- backend filter
  [ -z "${IMAGE:-}" ] || [ $# -eq 1 ] || fail "IMAGE names one image: say which"
  local part tool
  WORK=$(mktemp -d)
  trap 'rm -rf "$WORK"' EXIT
  for part in "$@"; do
    case $part in
      backend | filter) tool=$(find_tool) ;;&
      backend) publish backend embedding-gateway ;;
      filter) publish filter body-hash-filter ;;
      file) build_filter "$ROOT/kustomize/components/body-hash-file" ;;
      *) fail "there is no '$part'; there are: backend filter file" ;;
    esac
  done
}

main "$@"

#!/usr/bin/env bash
# Builds the images, pushes them, and writes kustomize/overlays/pinned: an overlay with their digests, which git ignores.
#
# usage: REGISTRY=registry.example.com/team [TAG=...] [...] scripts/images.sh [backend] [filter] [native] [exporter]
#            no name: backend and filter. native: the filter's native module; exporter: for the component varnish-exporter
#        scripts/images.sh file         no image: the module for the component body-hash-file
#        scripts/images.sh native-file  no image: the native module for the component body-hash-native-file
#   REGISTRY   what stands before embedding-gateway, body-hash-filter, body-hash-filter-native and varnish-exporter. A
#              registry of this machine needs no TLS
#   CLUSTER_REGISTRY  the same registry as pods call it, where that differs: the filter's module is fetched from within a pod
#   TAG        the commit by default, with -dirty if what is built differs from it
#   PLATFORMS  "amd64 arm64" makes one index of both; this machine's own by default. The filter's image is for all
#   BUILD_PROFILE  cargo's profile of the backend: release by default, laptop for a trial
#   OVERLAY    what kustomize/overlays/pinned pins: dev (default), production, or another of kustomize/overlays
#   TOOL       docker, podman or buildah; the first that is there by default
# For skaffold, which names the image itself, and kustomize/overlays/skaffold, in which it sets them:
#   IMAGE      the whole name of the one image; nothing in kustomize/ is written
#   PUSH_IMAGE  false: it stays with the tool
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
readonly ROOT
readonly PINNED="$ROOT/kustomize/overlays/pinned"
# As the manifests name the images.
readonly UNSET=unset/../run-scripts-images.sh-first
readonly BACKEND_NAME=$UNSET/embedding-gateway
readonly FILTER_NAME=unset://run-scripts-images.sh-first/body-hash-filter
readonly NATIVE_NAME=$UNSET/body-hash-filter-native
readonly EXPORTER_NAME=$UNSET/varnish-exporter
# The oldest glibc that the native module runs with: Debian 10's, and that of every proxy with dynamic modules.
readonly GLIBC=2.28
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

# The processors that the backend is built for, as registries name them.
platforms() {
  case $(uname -m) in x86_64) set -- amd64 ;; aarch64 | arm64) set -- arm64 ;; *) set -- "$(uname -m)" ;; esac
  echo "${PLATFORMS:-$1}"
}

# rust_target PLATFORM: static, so that the image holds nothing else.
rust_target() {
  case $1 in
    amd64) echo x86_64-unknown-linux-musl ;;
    arm64) echo aarch64-unknown-linux-musl ;;
    *) fail "PLATFORMS: there is no '$1'; there are: amd64 arm64" ;;
  esac
}

# build_backend FOLDER PLATFORM: for another processor than this machine's, zig compiles and links.
build_backend() {
  local commit target build=(build) linker=musl profile=${BUILD_PROFILE:-release}
  commit=$(commit_id)
  target=$(rust_target "$2")
  [ "$target" = "$(uname -m)-unknown-linux-musl" ] || linker=cross build=(zigbuild) PATH="$ROOT/.tools/cross/bin:$PATH"
  "$ROOT/scripts/setup.sh" rust "$linker"
  (cd "$ROOT" && env ${commit:+GIT_COMMIT="$commit"} \
    cargo "${build[@]}" --profile "$profile" --locked --target "$target" --package embedding-gateway --bins)
  cp "$ROOT/target/$target/$profile/"{embedding-gateway,endpoint-broadcaster} "$1"
}

# build_filter FOLDER [PLATFORM]: one module for every processor.
build_filter() {
  "$ROOT/scripts/setup.sh" rust
  (cd "$ROOT" && cargo build --release --locked --target wasm32-wasip1 --package body-hash-filter)
  cp "$ROOT/target/wasm32-wasip1/release/body_hash_filter.wasm" "$1/plugin.wasm"
}

# build_native FOLDER PLATFORM: zig links against the old glibc, for any processor.
build_native() {
  local target
  target=$(rust_target "$2")
  target=${target%-musl}-gnu
  "$ROOT/scripts/setup.sh" rust cross
  (cd "$ROOT" && PATH="$ROOT/.tools/cross/bin:$PATH" \
    cargo zigbuild --release --locked --target "$target.$GLIBC" --package body-hash-filter-native)
  cp "$ROOT/target/$target/release/libbody_hash_filter.so" "$1"
}

# build_image PART PLATFORM IMAGE: from a folder that holds what it needs and no more.
build_image() {
  local part=$1 platform=$2 image=$3 context="$WORK/$1-$2" build=(build) folder=$1 target=()
  [ "$part" != native ] || folder=filter target=(--target native)
  [ "$part" != exporter ] || folder=kustomize/components/varnish-exporter
  mkdir -p "$context"
  # The exporter comes from a package: its Containerfile.
  [ "$part" = exporter ] || "build_$part" "$context" "$platform"
  [ "$tool" != buildah ] || build=(build --format docker)
  # Nothing runs while it is built, so any processor's image can be; but for the exporter's.
  "$tool" "${build[@]}" "${target[@]}" --platform "linux/$platform" --file "$ROOT/$folder/Containerfile" --tag "$image" "$context"
}

# push_image KIND IMAGE: an image, or a manifest with its images. Leaves its digest in $WORK/digest.
push_image() {
  local kind=$1 image=$2 push=(push)
  [ "$kind" = image ] || push=(manifest push --all)
  if [ "$tool" = docker ]; then
    [ "$kind" = manifest ] || docker push "$image"
    docker buildx imagetools inspect "$image" --format '{{.Manifest.Digest}}' >"$WORK/digest"
    return
  fi
  if [[ $image =~ ^(localhost|127\.0\.0\.1)(:[0-9]+)?/ ]]; then push+=(--tls-verify=false); fi
  push+=(--digestfile "$WORK/digest" "$image")
  [ "$kind" = image ] || push+=("docker://$image")
  "$tool" "${push[@]}"
}

# One index over the images of several processors, each of which is pushed under a name of its own.
push_index() {
  local image=$1 platform
  if [ "$tool" = docker ]; then
    docker buildx imagetools create --tag "$image" "${@:2}"
  else
    "$tool" manifest rm "$image" >/dev/null 2>&1 || true
    "$tool" manifest create "$image" >/dev/null
    for platform in "${@:2}"; do "$tool" manifest add "$image" "$platform" >/dev/null; done
  fi
  push_image manifest "$image"
}

# set_pin NAME REPOSITORY DIGEST: what kustomize writes wherever a manifest says NAME; policies first, as the overlay says.
set_pin() {
  local file="$PINNED/kustomization.yaml" edited
  [ -e "$file" ] || new_pins >"$file"
  edited=$(awk -v name="$1" -v new="$2" -v digest="$3" '
    function pin() { print "  newName: " new; print "  digest: " digest; pinned = 1 }
    # As older scripts called them.
    /^- name: [a-z-]+$/ { $0 = "- name: " unset "/" $3 }
    /^- name: / { ours = ($3 == name); print; if (ours) pin(); next }
    # A file that an older script wrote may not have the name.
    /^configurations:/ && !pinned { print "- name: " name; pin() }
    ours && /^  (newName|newTag|digest): / { next }
    /^- \.\.\// { print "- ../" overlay; next }
    /^(sortOptions:|  order: )/ { next }
    { ours = ours && /^  /; print }
    END { print "sortOptions:\n  order: fifo" }' overlay="${OVERLAY:-dev}" unset="$UNSET" "$file")
  printf '%s\n' "$edited" >"$file"
}

new_pins() {
  cat <<END
# Written by scripts/images.sh. An overlay of yours may list the images in the same way.
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources:
- ../dev
images:
- name: $BACKEND_NAME
- name: $FILTER_NAME
- name: $NATIVE_NAME
- name: $EXPORTER_NAME
configurations:
- image_fields.yaml
END
}

# pin PART REPOSITORY: by the digest of what was just pushed.
pin() {
  local digest
  digest=$(<"$WORK/digest")
  mkdir -p "$PINNED"
  cp "$ROOT/kustomize/components/images/image_fields.yaml" "$PINNED"
  case $1 in
    backend) set_pin "$BACKEND_NAME" "$2" "$digest" ;;
    filter) set_pin "$FILTER_NAME" "oci://${CLUSTER_REGISTRY:-$REGISTRY}/${2#"$REGISTRY"/}" "$digest" ;;
    native) set_pin "$NATIVE_NAME" "$2" "$digest" ;;
    exporter) set_pin "$EXPORTER_NAME" "$2" "$digest" ;;
  esac
  echo "$2@$digest"
}

# publish PART IMAGE PLATFORM...
publish() {
  local part=$1 image=$2 platform images=()
  shift 2
  if [ $# -eq 1 ]; then
    build_image "$part" "$1" "$image"
    if [ "${PUSH_IMAGE:-true}" = true ]; then push_image image "$image"; fi
    return
  fi
  for platform in "$@"; do
    build_image "$part" "$platform" "$image-$platform"
    push_image image "$image-$platform"
    images+=("$image-$platform")
  done
  push_index "$image" "${images[@]}"
}

# make_and_pin PART REPOSITORY PLATFORM...: under the name that skaffold gave, or under ours, and then pinned.
make_and_pin() {
  local part=$1 repository=$2 name tag
  shift 2
  if [ -n "${IMAGE:-}" ]; then publish "$part" "$IMAGE" "$@"; echo "$IMAGE"; return; fi
  name="${REGISTRY:?is not set: where should the images go?}/$repository"
  tag=${TAG:-$(default_tag)} || exit 1
  publish "$part" "$name:$tag" "$@"
  pin "$part" "$name"
}

main() {
  case ${1:-} in -h | --help) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"; exit 0 ;; esac
  [ $# -gt 0 ] || set -- backend filter
  [ -z "${IMAGE:-}" ] || [ $# -eq 1 ] || fail "IMAGE names one image: say which"
  local part tool wanted
  WORK=$(mktemp -d)
  trap 'rm -rf "$WORK"' EXIT
  for part in "$@"; do
    case $part in
      backend | filter | native | exporter) tool=$(find_tool) ;;&
      backend | native | exporter) read -ra wanted <<<"$(platforms)" ;;&
      backend) make_and_pin backend embedding-gateway "${wanted[@]}" ;;
      native) make_and_pin native body-hash-filter-native "${wanted[@]}" ;;
      exporter) make_and_pin exporter varnish-exporter "${wanted[@]}" ;;
      filter) make_and_pin filter body-hash-filter amd64 ;;
      file) build_filter "$ROOT/kustomize/components/body-hash-file" ;;
      native-file) build_native "$ROOT/kustomize/components/body-hash-native-file" "$(platforms)" ;;
      *) fail "there is no '$part'; there are: backend filter native exporter file native-file" ;;
    esac
  done
}

main "$@"

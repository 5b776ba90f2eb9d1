# shellcheck shell=bash
# The parts of setup.sh: for each, missing_PART prints what is not there, a line each, and setup_PART installs it.
# missing_PART changes nothing. Sourced by scripts/setup.sh, which sets ROOT, TOOLS and the versions.

# missing_programs PROGRAM...: those that are not on the PATH.
missing_programs() {
  local program
  for program in "$@"; do command -v "$program" >/dev/null || echo "$program"; done
}

# missing_components NAME...: of the pinned toolchain. A machine without rustup has what its Rust brought.
missing_components() {
  local toolchain installed name
  command -v rustup >/dev/null || return 0
  toolchain=$(pinned_toolchain)
  # Older versions of rustup install a toolchain as soon as it is named.
  rustup toolchain list | grep -q "^$toolchain-" || { echo "toolchain $toolchain"; return; }
  installed=$(rustup component list --toolchain "$toolchain" --installed)
  for name in "$@"; do grep -q "^$name" <<<"$installed" || echo "$name"; done
}

pinned_toolchain() { sed -n 's/^channel = "\(.*\)"/\1/p' "$ROOT/rust-toolchain.toml"; }

missing_rust() {
  missing_programs cargo cc
  missing_components clippy rustfmt rust-std-wasm32-wasip1
}

setup_rust() {
  local toolchain
  command -v cargo >/dev/null || fail "rust: no cargo on the PATH; install Rust with rustup (https://rustup.rs)"
  command -v cc >/dev/null || apt_install gcc libc6-dev || fail "rust: install a C compiler, which links programs"
  [ -n "$(missing_components clippy rustfmt rust-std-wasm32-wasip1)" ] || return 0
  toolchain=$(pinned_toolchain)
  rustup toolchain install "$toolchain" --profile minimal --component clippy,rustfmt --target wasm32-wasip1 ||
    fail "rust: rustup could not install toolchain $toolchain"
  (cd "$ROOT" && cargo --version >/dev/null) || fail "rust: cargo does not run"
}

# Static programs are for this machine's processor.
musl_target() { echo "$(uname -m)-unknown-linux-musl"; }

missing_musl() {
  missing_programs musl-gcc
  missing_components "rust-std-$(musl_target)"
}

setup_musl() {
  if [ -n "$(missing_components "rust-std-$(musl_target)")" ]; then
    rustup target add --toolchain "$(pinned_toolchain)" "$(musl_target)" || fail "musl: rustup could not add $(musl_target)"
  fi
  command -v musl-gcc >/dev/null || apt_install musl-tools || fail "musl: install musl-gcc"
}

readonly CROSS_TARGETS=({x86_64,aarch64}-unknown-linux-{musl,gnu})

missing_cross() {
  [ -x "$TOOLS/cross/bin/cargo-zigbuild" ] || echo cargo-zigbuild
  missing_components "${CROSS_TARGETS[@]/#/rust-std-}"
}

setup_cross() {
  local target
  for target in "${CROSS_TARGETS[@]}"; do
    [ -z "$(missing_components "rust-std-$target")" ] || rustup target add --toolchain "$(pinned_toolchain)" "$target" ||
      fail "cross: rustup could not add $target"
  done
  [ -x "$TOOLS/cross/bin/cargo-zigbuild" ] || {
    python3 -m venv "$TOOLS/cross"
    "$TOOLS/cross/bin/pip" install --quiet "ziglang==$ZIG_VERSION" "cargo-zigbuild==$ZIGBUILD_VERSION"
  } || fail "cross: pip could not install zig and cargo-zigbuild"
}

missing_envoy() {
  [ -x "$TOOLS/bin/envoy-$ENVOY_VERSION" ] && [ "$(readlink "$TOOLS/bin/envoy")" = "envoy-$ENVOY_VERSION" ] ||
    echo "Envoy $ENVOY_VERSION"
}

setup_envoy() { install_envoy "$ENVOY_VERSION"; ln -sf "envoy-$ENVOY_VERSION" "$TOOLS/bin/envoy"; }

missing_envoys() {
  local version
  for version in "${OTHER_ENVOYS[@]}" "${ENVOYS_WITHOUT_WASM[@]}"; do [ -x "$TOOLS/bin/envoy-$version" ] || echo "Envoy $version"; done
}

setup_envoys() {
  local version
  for version in "${OTHER_ENVOYS[@]}" "${ENVOYS_WITHOUT_WASM[@]}"; do install_envoy "$version"; done
}

requirements_digest() { sha256sum <"$ROOT/tests/requirements.txt"; }

missing_python() {
  [ "$(cat "$TOOLS/venv/requirements.sha256" 2>/dev/null)" = "$(requirements_digest)" ] || echo "the packages of tests/requirements.txt"
}

setup_python() {
  rm -rf "$TOOLS/venv"
  "$(python3_command)" -m venv "$TOOLS/venv" || fail "python: could not create $TOOLS/venv"
  "$TOOLS/venv/bin/pip" install --quiet --requirement "$ROOT/tests/requirements.txt" ||
    fail "python: pip could not install tests/requirements.txt"
  requirements_digest >"$TOOLS/venv/requirements.sha256"
}

# missing_packages FOLDER
missing_packages() {
  missing_programs npm
  has_node || echo "Node 22 or later"
  has_packages "$1" || echo "the packages of $1/package-lock.json"
}

missing_node() { missing_packages tests/chain; }

setup_node() { install_packages tests/chain; }

missing_browser() {
  missing_programs chromium
  missing_packages tests/page
}

setup_browser() {
  command -v chromium >/dev/null || apt_install chromium || fail "browser: install Chromium"
  install_packages tests/page
}

missing_prometheus() {
  local program
  for program in prometheus promtool prometheus-varnish-exporter; do [ -x "$TOOLS/bin/$program" ] || echo "$program"; done
}

# Unpacked and not installed: the packages would start services of their own on this machine.
setup_prometheus() {
  local folder="$TOOLS/prometheus" program found
  mkdir -p "$TOOLS/bin"
  for program in $(missing_prometheus); do
    if found=$(command -v "$program"); then
      ln -sf "$found" "$TOOLS/bin/$program"
      continue
    fi
    [ -d "$folder" ] || unpack_debian "$folder" prometheus prometheus-varnish-exporter
    ln -sf "../prometheus/usr/bin/$program" "$TOOLS/bin/$program"
    "$TOOLS/bin/$program" --version >/dev/null 2>&1 || fail "prometheus: $program does not run here"
  done
}

missing_varnish() { missing_programs varnishd varnishtest; }

setup_varnish() { apt_install varnish || fail "varnish: install varnishd and varnishtest 7.1 or later"; }

missing_mesh() { missing_programs etcd kubectl iptables ip openssl curl docker-registry buildah dnsmasq; }

setup_mesh() {
  local program packages=()
  declare -A package=(
    [etcd]=etcd-server [kubectl]=kubernetes-client [iptables]=iptables [ip]=iproute2 [openssl]=openssl
    [curl]=curl [docker-registry]=docker-registry [buildah]=buildah [dnsmasq]=dnsmasq-base
  )
  for program in $(missing_mesh); do packages+=("${package[$program]}"); done
  apt_install "${packages[@]}" || fail "mesh: install ${packages[*]}"
}

missing_machine() {
  missing_programs containerd runc ipset conntrack
  [ -x /usr/lib/cni/bridge ] || echo /usr/lib/cni/bridge
}

setup_machine() {
  apt_install containerd runc containernetworking-plugins ipset conntrack || fail "machine: install containerd, runc, containernetworking-plugins, ipset and conntrack"
}

missing_kustomize() {
  kubectl version --client 2>/dev/null | grep -q '^Kustomize Version: v5' || [ -x "$TOOLS/bin/kustomize" ] ||
    echo "kustomize $KUSTOMIZE_VERSION"
}

setup_kustomize() {
  go_install "sigs.k8s.io/kustomize/kustomize/v5@v$KUSTOMIZE_VERSION" ||
    fail "kustomize: go could not build $KUSTOMIZE_VERSION; or install kubectl 1.27 or later"
}

# has_version PROGRAM OPTION VERSION: whether it runs, and says with this option that it is of this version.
has_version() { "$1" "$2" 2>/dev/null | grep -q -w -F "$3"; }

has_actionlint() { has_version "$TOOLS/bin/actionlint" -version "v$ACTIONLINT_VERSION"; }

has_cargo_deny() { has_version "$TOOLS/bin/cargo-deny" --version "$CARGO_DENY_VERSION"; }

missing_lint() {
  missing_programs shellcheck
  has_actionlint || echo "actionlint $ACTIONLINT_VERSION"
  has_cargo_deny || echo "cargo-deny $CARGO_DENY_VERSION"
}

setup_lint() {
  command -v shellcheck >/dev/null || apt_install shellcheck || fail "lint: install shellcheck"
  has_actionlint || go_install "github.com/rhysd/actionlint/cmd/actionlint@v$ACTIONLINT_VERSION" ||
    fail "lint: go could not build actionlint $ACTIONLINT_VERSION"
  has_cargo_deny || cargo_install cargo-deny "$CARGO_DENY_VERSION" || fail "lint: cargo could not build cargo-deny $CARGO_DENY_VERSION"
}

faketime_library() { find /usr/lib /usr/local/lib -path '*/faketime/libfaketime.so.1' -print -quit 2>/dev/null; }

missing_faketime() { [ -n "$(faketime_library)" ] || echo "libfaketime"; }

setup_faketime() { apt_install libfaketime || fail "faketime: install libfaketime"; }

has_cargo_fuzz() { has_version "$TOOLS/bin/cargo-fuzz" --version "$CARGO_FUZZ_VERSION"; }

missing_fuzz() {
  missing_programs c++
  has_cargo_fuzz || echo "cargo-fuzz $CARGO_FUZZ_VERSION"
}

setup_fuzz() {
  command -v c++ >/dev/null || apt_install g++ || fail "fuzz: install a C++ compiler"
  has_cargo_fuzz || cargo_install cargo-fuzz "$CARGO_FUZZ_VERSION" || fail "fuzz: cargo could not build cargo-fuzz $CARGO_FUZZ_VERSION"
}

missing_bench() { missing_programs wrk h2load socat; }

setup_bench() { apt_install wrk nghttp2-client socat || fail "bench: install wrk 4.1 or later, h2load and socat"; }

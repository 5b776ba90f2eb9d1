#!/usr/bin/env bash
# Runs the .vtc files on the Varnish of other Debian releases, each in a folder of its own below .tools/.
#
# usage: scripts/varnish-compat.sh [SUITE...]      (no suite: trixie, with Varnish 7.7, and forky, with its successor
# Vinyl Cache 9)
#   DEBIAN_MIRROR    where the packages come from; the one that this machine is set up for by default
#
# Needs root and, the first time, some minutes for each suite.
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
readonly ROOT
declare -rA PACKAGES=([trixie]=varnish [forky]=vinyl-cache)

fail() { echo "varnish-compat: $*" >&2; exit 1; }

mirror() {
  # shellcheck disable=SC2016 # apt-get expands it
  echo "${DEBIAN_MIRROR:-$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' | grep '/debian$' | head -n 1)}"
}

install_suite() {
  local suite=$1 folder=$2 from
  [ -f "$folder/.installed" ] && return
  command -v debootstrap >/dev/null || fail "debootstrap is needed (apt-get install debootstrap)"
  from=$(mirror)
  [ -n "$from" ] || fail "DEBIAN_MIRROR: not set, and this machine names none"
  rm -rf "$folder"
  # Debian's own scripts are the same for every suite; an older debootstrap does not know the newest names.
  debootstrap --variant=minbase --include="${PACKAGES[$suite]},gcc,libc6-dev" "$suite" "$folder" "$from" \
    /usr/share/debootstrap/scripts/sid >"$folder.log" 2>&1 || fail "$suite could not be installed; see $folder.log"
  touch "$folder/.installed"
}

# The tests see loopback, /proc and /dev, and a copy of what they test.
run_suite() {
  local folder=$1
  rm -rf "$folder/tested" && mkdir -p "$folder/tested/kustomize/components"
  cp -R "$ROOT/kustomize/components/varnish" "$folder/tested/kustomize/components/"
  cp -R "$ROOT/scripts" "$folder/tested/"
  echo "127.0.0.1 localhost" >"$folder/etc/hosts"
  # shellcheck disable=SC2016 # expanded by the inner shell
  unshare --mount bash -c '
    mount -t proc proc "$1/proc" && mount --rbind /dev "$1/dev"
    exec chroot "$1" /tested/scripts/varnish-tests.sh' - "$folder"
}

main() {
  case ${1:-} in -h | --help) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"; exit 0 ;; esac
  [ "$(id -u)" -eq 0 ] || fail "only root can enter another root folder"
  [ $# -gt 0 ] || set -- "${!PACKAGES[@]}"
  local suite folder
  for suite in "$@"; do
    [ -n "${PACKAGES[$suite]:-}" ] || fail "no suite is called '$suite'; there are: ${!PACKAGES[*]}"
    folder="$ROOT/.tools/debian-$suite"
    mkdir -p "$ROOT/.tools"
    install_suite "$suite" "$folder"
    run_suite "$folder"
  done
}

main "$@"

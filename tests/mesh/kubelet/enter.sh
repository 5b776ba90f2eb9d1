#!/usr/bin/env bash
# Becomes a container's first process: makes its root file system, leaves the machine's behind, drops privileges, runs its command.
# Runs in mount and PID namespaces of its own and in the Pod's network.
#
# usage: enter.sh SCRATCH BASE ROOT_MODE MOUNTS WORKDIR SETPRIV_ARGUMENT... -- COMMAND...
#   SCRATCH    an empty directory; what the container writes outside of its mounts lives and ends there, in memory
#   BASE       the lower layer of the root: a directory
#   ROOT_MODE  ro or rw
#   MOUNTS     a file with lines of SOURCE, TARGET, ro or rw, parted by tabs; in this order
set -euo pipefail

# Where the machine's root is while the container's is being furnished.
readonly HOST=/.host

make_root() {
  mount -t tmpfs -o mode=755 tmpfs "$scratch"
  mkdir "$scratch/upper" "$scratch/work" "$scratch/root"
  chmod 755 "$scratch/upper"
  mount -t overlay -o "lowerdir=$base,upperdir=$scratch/upper,workdir=$scratch/work" overlay "$scratch/root"
  mkdir -p "$scratch/root$HOST" "$scratch/root/lib64" "$scratch/root/usr/lib" "$scratch/root/proc" "$scratch/root/dev" "$scratch/root/sys"
  [ -e "$scratch/root/lib" ] || ln -s usr/lib "$scratch/root/lib"
  # Programs here are linked against the machine's libraries, whatever image they play.
  mount --rbind -o ro /usr/lib "$scratch/root/usr/lib"
  mount --rbind -o ro /lib64 "$scratch/root/lib64"
}

# From here on paths mean the container's, so that its symbolic links lead to where they lead in it.
move_in() {
  cd "$scratch/root"
  pivot_root . ".$HOST"
  cd /
  PATH="$HOST/usr/bin:$HOST/usr/sbin:$HOST/bin:$HOST/sbin"
}

furnish() {
  mount -t proc proc /proc
  mount -t sysfs -o ro sysfs /sys
  mount --rbind "$HOST/dev" /dev
  local source target mode
  while IFS=$'\t' read -r source target mode; do
    if [ -d "$HOST$source" ]; then
      mkdir -p "$target"
    else
      mkdir -p "${target%/*}"
      # A link here may lead to what is not in this root.
      [ ! -L "$target" ] || rm "$target"
      [ -e "$target" ] || : >"$target"
    fi
    mount --bind "$HOST$source" "$target"
  done <"$HOST$mounts"
  # Afterwards, as one mount may hold the place of another.
  while IFS=$'\t' read -r source target mode; do
    [ "$mode" = rw ] || mount -o remount,bind,ro "$target"
  done <"$HOST$mounts"
}

main() {
  scratch=$1 base=$2 root_mode=$3 mounts=$4 workdir=$5
  shift 5
  # Kept open: it is run when the machine's root is out of reach.
  exec 3</usr/bin/setpriv
  make_root
  move_in
  furnish
  mkdir -p "$workdir"
  [ "$root_mode" = rw ] || mount -o remount,bind,ro /
  umount --lazy "$HOST"
  cd "$workdir"
  PATH=$CONTAINER_PATH
  unset CONTAINER_PATH OLDPWD
  export PATH
  exec /proc/self/fd/3 "$@"
}

main "$@"

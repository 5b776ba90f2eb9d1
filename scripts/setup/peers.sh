# shellcheck shell=bash
# The part of setup.sh that brings other gateways and caches for embeddings, to be measured beside this one.
# Sourced by scripts/setup.sh, which sets ROOT and TOOLS.

readonly PEERS="$ROOT/scripts/bench/peers"

missing_peers() {
  [ -x "$TOOLS/bin/nginx" ] || echo "nginx"
  [ "$(installed_from litellm)" = "$(pinned_by "$PEERS/litellm.txt")" ] || echo "the packages of scripts/bench/peers/litellm.txt"
  missing_packages scripts/bench/peers
}

setup_peers() {
  install_nginx
  install_litellm
  install_packages scripts/bench/peers
}

# Unpacked and not installed: the package would start a server of its own on this machine.
install_nginx() {
  local found
  [ ! -x "$TOOLS/bin/nginx" ] || return 0
  mkdir -p "$TOOLS/bin"
  if ! found=$(command -v nginx); then
    unpack_debian "$TOOLS/nginx" nginx
    found=../nginx/usr/sbin/nginx
  fi
  ln -sf "$found" "$TOOLS/bin/nginx"
  "$TOOLS/bin/nginx" -v 2>/dev/null || fail "peers: nginx does not run here"
}

# The list is what LiteLLM's extra `proxy` needs of it, without packages that no registry has.
install_litellm() {
  [ "$(installed_from litellm)" != "$(pinned_by "$PEERS/litellm.txt")" ] || return 0
  rm -rf "$TOOLS/litellm"
  "$(python3_command)" -m venv "$TOOLS/litellm" || fail "peers: could not create $TOOLS/litellm"
  "$TOOLS/litellm/bin/pip" install --quiet --requirement "$PEERS/litellm.txt" || fail "peers: pip could not install $PEERS/litellm.txt"
  pinned_by "$PEERS/litellm.txt" >"$TOOLS/litellm/.installed"
}

#!/usr/bin/env bash
# Sets up, builds and runs the whole chain on this machine:
#   Envoy with the body-hash filter → Varnish → embedding-gateway → OpenAI, another server, or the stand-in
#   and the endpoint-broadcaster, which purges
#
# usage: [PORT=8080] [OPENAI_API_KEY=sk-...] [OPENAI_BASE_URL=http://...] [RUN_DIR=.run] scripts/run.sh
#   PORT             where Envoy listens on 127.0.0.1; everything else takes free ports
#   OPENAI_API_KEY   set: upstream is OpenAI, or OPENAI_BASE_URL; callers bring their own key
#   OPENAI_BASE_URL  set: this is the upstream, with or without a key: http://127.0.0.1:11434/v1 for Ollama
#                    neither set: the stand-in, whose vectors mean nothing
#   RUN_DIR          logs, and the vectors that were paid for: they survive a restart
#   BUILD_PROFILE    cargo's profile: laptop, which is built soon, or release, which is what ships
# Every other variable of docs/configuration.md is the backend's: STORE=s3://bucket, S3_ENDPOINT and so on.
#
# Ctrl-C or SIGTERM ends all that it started.
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
readonly ROOT
readonly PORT=${PORT:-8080}
readonly PROFILE=${BUILD_PROFILE:-laptop}
# Where the programs are looked for, whatever the caller's environment says.
export CARGO_TARGET_DIR="$ROOT/target"
readonly PROGRAMS="$CARGO_TARGET_DIR/$PROFILE"
readonly MODULE="target/wasm32-wasip1/$PROFILE/body_hash_filter.wasm"
readonly VARNISH="$ROOT/kustomize/components/varnish"
# A cold machine needs seconds to compile the module and the VCL.
readonly START_SECONDS=30
# The backend drains its pending writes within this time.
readonly STOP_SECONDS=30

# shellcheck source=scripts/run/upstream.sh
source "$ROOT/scripts/run/upstream.sh"

say() { printf '%s\n' "$*"; }
fail() { printf 'run.sh: %s\n' "$*" >&2; exit 1; }

check_profile() {
  [[ $PROFILE =~ ^(laptop|release)$ ]] || fail "BUILD_PROFILE: '$PROFILE' is neither laptop nor release"
}

check_port() {
  if ! [[ $PORT =~ ^[1-9][0-9]{0,4}$ ]] || ((PORT > 65535)); then
    fail "PORT: '$PORT' is not a port"
  fi
  if (exec 3<>"/dev/tcp/127.0.0.1/$PORT") 2>/dev/null; then
    fail "PORT: 127.0.0.1:$PORT is taken; choose another: PORT=8081 scripts/run.sh"
  fi
}

# step TEXT COMMAND...: says what runs, lets it show its progress, and says how long it took.
step() {
  local text=$1 started=$SECONDS
  shift
  say "$text ..."
  "$@"
  say "$text: done in $((SECONDS - started)) s"
}

prepare() {
  say "preparing (the first time this takes some minutes)"
  cd "$ROOT"
  step "tools" scripts/setup.sh rust envoy varnish
  step "filter" cargo build --profile "$PROFILE" --locked --target wasm32-wasip1
  local gateway=(--package embedding-gateway --bins) standin=(--package openai-standin)
  if [ "$PROFILE" = laptop ]; then
    # One call builds each library once, and the same one whatever the upstream is.
    step "programs" cargo build --profile laptop --locked "${gateway[@]}" "${standin[@]}"
  else
    step "programs" cargo build --profile "$PROFILE" --locked "${gateway[@]}"
    # Apart, so that what the stand-in needs of libraries does not get into the programs as they ship.
    has_own_upstream || step "stand-in" cargo build --profile "$PROFILE" --locked "${standin[@]}"
  fi
}

# Free ports, all different, and none that the kernel may give to a client before the program listens on it.
free_ports() {
  python3 - "$1" <<'PYTHON'
import random, socket, sys
clients = int(open("/proc/sys/net/ipv4/ip_local_port_range").read().split()[0])
sockets = []
while len(sockets) < int(sys.argv[1]):
    sockets.append(socket.socket())
    try:
        sockets[-1].bind(("127.0.0.1", random.randrange(10000, clients)))
    except OSError:
        sockets.pop()
print(*[s.getsockname()[1] for s in sockets])
PYTHON
}

# start NAME COMMAND...: in a session of its own, so that stop_all decides the order on Ctrl-C. It dies with this script.
start() {
  local name=$1
  shift
  setsid setpriv --pdeathsig TERM -- "$@" >"$LOGS/$name.log" 2>&1 </dev/null &
  names[$!]=$name
  started+=($!)
}

# await NAME URL: until the program that was started last answers there.
await() {
  local name=$1 url=$2 pid=${started[-1]} deadline=$((SECONDS + START_SECONDS))
  until curl -fsS -m 2 -o /dev/null "$url" 2>/dev/null; do
    kill -0 "$pid" 2>/dev/null || died "$pid"
    ((SECONDS < deadline)) || { tail -n 20 "$LOGS/$name.log" >&2; fail "$name: not ready within $START_SECONDS s; see $LOGS/$name.log"; }
    sleep 0.05
  done
}

died() {
  local name=${names[$1]}
  tail -n 20 "$LOGS/$name.log" >&2
  fail "$name ended; its last lines stand above, all of them in $LOGS/$name.log"
}

# shellcheck disable=SC2317 # the trap calls it
# Ends Envoy first and the upstream last, so that requests that run can finish.
stop_all() {
  trap - EXIT INT TERM
  local index pid deadline
  for ((index = ${#started[@]} - 1; index >= 0; index--)); do
    pid=${started[index]}
    kill -TERM "$pid" 2>/dev/null || continue
    deadline=$((SECONDS + STOP_SECONDS))
    while kill -0 "$pid" 2>/dev/null && ((SECONDS < deadline)); do sleep 0.05; done
    kill -KILL "$pid" 2>/dev/null && say "${names[$pid]}: had to be killed"
    wait "$pid" 2>/dev/null || true
  done
  [ -z "${varnish_dir:-}" ] || rm -rf "$varnish_dir"
}

start_upstream() {
  if has_own_upstream; then
    upstream=${OPENAI_BASE_URL:-https://api.openai.com/v1}
    upstream_id=
    return
  fi
  start standin "$PROGRAMS/openai-standin" --listen "127.0.0.1:$standin_port"
  await standin "http://127.0.0.1:$standin_port/stats"
  upstream="http://127.0.0.1:$standin_port/v1"
  # Its port changes from run to run; the vectors that it gave do not.
  upstream_id=openai-standin
}

start_backend() {
  local store=${STORE:-}
  [ -n "$store${S3_BUCKET:-}" ] || store="file://$RUN/store"
  # Callers' own keys go upstream: with this machine's key in the gateway, every program on it could spend it.
  start backend env -u OPENAI_API_KEY \
    LISTEN="127.0.0.1:$backend_port" STORE="$store" ALLOW_ANONYMOUS_PURGE=true \
    OPENAI_BASE_URL="$upstream" ${upstream_id:+UPSTREAM_ID="$upstream_id"} \
    "$PROGRAMS/embedding-gateway"
  await backend "http://127.0.0.1:$backend_port/readyz"
}

start_varnish() {
  # Started by root, varnishd compiles its VCL as another user, which may not be able to read this checkout.
  varnish_dir=$(mktemp -d)
  chmod 755 "$varnish_dir"
  cp "$VARNISH"/*.vcl "$VARNISH/start.sh" "$varnish_dir"
  sed "s/@PORT@/$backend_port/" "$VARNISH/backend.local.vcl" >"$varnish_dir/backend.vcl"
  # Without IPv6 in the kernel the address has no second spelling; a request may then meet a used connection.
  [ -e /proc/net/if_inet6 ] || sed -i 's/::ffff://' "$varnish_dir/backend.vcl"
  chmod 644 "$varnish_dir"/*.vcl
  start varnish env LISTEN="127.0.0.1:$varnish_port" WORK_DIR="$varnish_dir/work" "$varnish_dir/start.sh"
  await varnish "http://127.0.0.1:$varnish_port/healthz"
}

start_broadcaster() {
  start broadcaster env \
    LISTEN="127.0.0.1:$broadcaster_port" ALLOW_ANONYMOUS_PURGE=true \
    BACKEND_SERVICE="127.0.0.1:$backend_port" VARNISH_SERVICE="127.0.0.1:$varnish_port" \
    "$PROGRAMS/endpoint-broadcaster"
  await broadcaster "http://127.0.0.1:$broadcaster_port/readyz"
}

start_envoy() {
  sed -e "s/\b8080\b/$PORT/" -e "s/\b6081\b/$varnish_port/" -e "s/\b9901\b/$admin_port/" \
    -e "s|target/wasm32-wasip1/release/body_hash_filter.wasm|$MODULE|" envoy/gateway.yaml >"$RUN/envoy.yaml"
  start envoy .tools/bin/envoy --config-path "$RUN/envoy.yaml" --use-dynamic-base-id --log-level warning
  await envoy "http://127.0.0.1:$PORT/healthz"
}

ready() {
  local key=demo model
  [ -z "${OPENAI_API_KEY:-}" ] || key="\$OPENAI_API_KEY"
  model=$(example_model "$upstream")
  [ "$model" != MODEL ] || say "$upstream did not say which models it has: put the name of one in place of MODEL"
  cat <<TEXT
ready: http://127.0.0.1:$PORT

Twice the same call; the second answer comes from Varnish (Cache-Status: ... Varnish; hit):
  curl -si http://127.0.0.1:$PORT/v1/embeddings -H "Authorization: Bearer $key" -H 'Content-Type: application/json' \\
    -d '{"model":"$model","input":"hello"}' | grep -i -E '^(HTTP|cache-status|x-embedding)'

Any OpenAI SDK, unchanged (pip install openai):
  OPENAI_BASE_URL=http://127.0.0.1:$PORT/v1 OPENAI_API_KEY=$key python3 -c '
from openai import OpenAI
print(OpenAI().embeddings.create(model="$model", input=["hello", "world"]).data[1].embedding[:3])'

Forget everything, in Varnish and in the backend:
  curl -s -X PURGE http://127.0.0.1:$broadcaster_port/v1/embeddings

upstream: $upstream
backend:  http://127.0.0.1:$backend_port    (metrics: /metrics)
page:     http://127.0.0.1:$PORT/
Varnish:  http://127.0.0.1:$varnish_port    (varnishstat -n $varnish_dir/work)
Envoy:    http://127.0.0.1:$admin_port    (admin; metrics: /stats/prometheus)
logs:     $LOGS
Ctrl-C ends it.
TEXT
}

main() {
  case ${1:-} in
    "") ;;
    -h | --help) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"; exit 0 ;;
    *) fail "takes no argument, only variables; see --help" ;;
  esac
  check_profile
  check_port
  check_upstream
  prepare
  RUN=$(mkdir -p "${RUN_DIR:-$ROOT/.run}" && cd "${RUN_DIR:-$ROOT/.run}" && pwd)
  LOGS="$RUN/logs"
  mkdir -p "$LOGS" "$RUN/store"
  names=() started=()
  trap stop_all EXIT
  trap 'exit 0' INT TERM
  read -r standin_port backend_port varnish_port broadcaster_port admin_port <<<"$(free_ports 5)"
  start_upstream
  start_backend
  start_varnish
  start_broadcaster
  start_envoy
  ready
  local ended
  wait -n -p ended "${started[@]}" || true
  died "$ended"
}

main "$@"

#!/bin/sh
# Starts varnishd in the foreground with default.vcl: in a container, on a laptop and, for its parameters, in every test.
#
# usage: [MEMORY=256m] [BODY_MEMORY=64m] [TRANSIENT_MEMORY=128m] [LISTEN=:6081] [WORK_DIR=/var/lib/varnish/work] [VCL_PATH=DIR:DIR] [IDENTITY=NAME] start.sh
#        start.sh --parameters     prints the stores and parameters, and starts nothing
#   MEMORY       for stored answers
#   BODY_MEMORY  for request bodies while they are read or sent on; without room in it (16 MiB, the margin in
#                default.vcl) a request goes past the cache: with less than that in all, every one
#   TRANSIENT_MEMORY  for what passes: request bodies, up to 1 MiB of each, and answers whose readers lag, a few MiB of each and with
#                Varnish 7.1 all of it; when it is full, such a request gets 503 and such an answer is cut
#   LISTEN       address:port
#   WORK_DIR     the only directory that is written to
#   VCL_PATH     where default.vcl and what it includes are looked for, in this order
#   IDENTITY     the name that the answer to PURGE gives; the host name by default
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)

# One to a line: an option and its value.
parameters() {
  cat <<LIST
-s objects=malloc,${MEMORY:-256m}
-s body=malloc,${BODY_MEMORY:-64m}
-s Transient=malloc,${TRANSIENT_MEMORY:-128m}
-p http_req_hdr_len=80k
-p http_req_size=96k
-p http_resp_hdr_len=80k
-p http_resp_size=96k
-p http_max_hdr=256
-p workspace_client=192k
-p workspace_backend=192k
-p timeout_idle=65
-p backend_idle_timeout=30
-p nuke_limit=10000
-p fetch_maxchunksize=1m
-p rush_exponent=16
-p ban_lurker_age=1
LIST
  # A reader that lags holds up its own answer, and does not fill the room of all. Varnish 7.1 has no such limit.
  if varnishd -x parameter | grep -q '^transit_buffer$'; then
    echo '-p transit_buffer=1m'
  fi
}

if [ "${1:-}" = --parameters ]; then
  parameters
  exit
fi

work=${WORK_DIR:-/var/lib/varnish/work}
mkdir -p "$work"
# The VCL compiler writes its temporary files there too, so that all else can be read-only.
export TMPDIR="$work"

# shellcheck disable=SC2046 # split on purpose: no value holds a blank
exec varnishd -F \
  -n "$work" \
  -a "http=${LISTEN:-:6081},HTTP" \
  ${IDENTITY:+-i "$IDENTITY"} \
  -p "vcl_path=${VCL_PATH:-$here}" \
  $(parameters) \
  -f "$here/default.vcl"

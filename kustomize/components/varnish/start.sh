#!/bin/sh
# Starts varnishd in the foreground with default.vcl: in a container and on a laptop. The tests take its parameters.
#
# usage: [VARIABLE=VALUE]... start.sh
#        start.sh --parameters        prints the stores and parameters, and starts nothing
#        start.sh --forward-headers   prints the VCL that it makes of FORWARD_HEADERS
#   FORWARD_HEADERS  names of headers, with commas between them, that identify a client and are part of the key; the
#                backend forwards the same ones, by the variable of the same name
#   MEMORY       for stored answers; 256m by default
#   BODY_MEMORY  for request bodies while they are read or sent on; without room in it (16 MiB, the margin in
#                default.vcl) a request goes past the cache: with less than that in all, every one; 64m by default
#   TRANSIENT_MEMORY  for what passes: request bodies, up to 1 MiB of each, and answers whose readers lag, a few MiB of
#                each and with Varnish 7.1 all of it; when it is full, such a request gets 503 and such an answer is
#                cut; 128m by default
#   LISTEN       address:port; :6081 by default
#   WORK_DIR     the only directory that is written to; /var/lib/varnish/work by default
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
-p timeout_idle=40
-p backend_idle_timeout=25
-p thread_pool_max=1500
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

forward_headers() {
  echo '# The headers of FORWARD_HEADERS, as start.sh found it.'
  each_header join_forward_headers 'std.collect(req.http.NAME);'
  each_header hash_forward_headers 'hash_data("NAME:" + req.http.NAME);'
}

# each_header SUB STATEMENT: a sub with the statement for each NAME.
each_header() {
  echo "sub $1 {"
  for name in $(echo "${FORWARD_HEADERS:-}" | tr ',' ' '); do echo "  $2" | sed "s/NAME/$name/g"; done
  echo '}'
}

# Only what VCL can name.
check_forward_headers() {
  set -f
  for name in $(echo "${FORWARD_HEADERS:-}" | tr ',' ' '); do
    case $name in
      *[!A-Za-z0-9_-]* | [!A-Za-z]*)
        echo "start.sh: FORWARD_HEADERS: '$name' is no name of a header, of letters, digits, - and _" >&2
        exit 1
        ;;
    esac
  done
}

check_forward_headers
case ${1:-} in
  --parameters) parameters && exit ;;
  --forward-headers) forward_headers && exit ;;
esac

work=${WORK_DIR:-/var/lib/varnish/work}
mkdir -p "$work/include"
forward_headers >"$work/include/forward_headers.vcl"
# Started by root, varnishd reads it as another user.
chmod 755 "$work/include"
chmod 644 "$work/include/forward_headers.vcl"
# The VCL compiler writes its temporary files there too, so that all else can be read-only.
export TMPDIR="$work"

# shellcheck disable=SC2046 # split on purpose: no value holds a blank
exec varnishd -F \
  -n "$work" \
  -a "http=${LISTEN:-:6081},HTTP" \
  ${IDENTITY:+-i "$IDENTITY"} \
  -p "vcl_path=$work/include:${VCL_PATH:-$here}" \
  $(parameters) \
  -f "$here/default.vcl"

#!/bin/sh
# Writes the backend.vcl of a test: `backend.sh ADDRESS PORT`. No probe, which the test's server would have to expect.
printf 'backend default { .host = "%s"; .port = "%s"; .host_header = "backend.test"; }\n' "$1" "$2"

# Whole answers of POST /v1/embeddings, at Azure's URLs too, kept for each credential by the hash of the request's body.
#
# Everything else passes. The VCL runs unchanged in the cluster and on a laptop: backend.vcl, found first in vcl_path,
# names the backend, and start.sh names the stores. Each sub is one decision and falls through to the builtin VCL,
# whose hooks (vcl_req_*, vcl_beresp_*) keep what is not overridden here. README.md has the promises and the tests
# that hold them.
vcl 4.1;

import std;

include "backend.vcl";
include "forward_headers.vcl";
include "purge.vcl";
include "refresh.vcl";
include "request.vcl";

#
# Client side
#

sub vcl_recv {
  call clear_internal_headers;
  call refuse_foreign_url;
  call note_body;
  if (req.method == "PURGE") {
    call serve_purge;
  }
  call vcl_builtin_recv;
  call buffer_body;
  return (hash);
}

# These subs tell each other in headers what a client may not say. What they said before a restart still holds.
sub clear_internal_headers {
  if (req.restarts > 0) {
    return;
  }
  unset req.http.X-Client-Cache-Control;
  unset req.http.X-Directives;
  unset req.http.X-Forward-Reason;
  unset req.http.X-No-Body;
  unset req.http.X-Older;
  unset req.http.X-Purged;
  unset req.http.X-Purge-Tags;
  unset req.http.X-Refresh;
  unset req.http.X-Varnish-Tags;
}

# For backend.vcl: of a chunked body no header is left when it is sent on.
sub note_body {
  if (!req.http.Transfer-Encoding && std.integer(req.http.Content-Length, 0) == 0) {
    set req.http.X-No-Body = "true";
  }
}

# In place of the builtin decision, which caches GET and HEAD.
sub vcl_req_method {
  if (req.method == "CONNECT" || req.method == "PRI") {
    return (synth(405, "This method is not served here."));
  }
  # The builtin would pipe a method that it does not know, and a pipe escapes every rule of this file.
  if (req.method != "POST" || req.url !~ "^/(?:(?:openai/)?v1|openai/deployments/[^/?]+)/embeddings(?:\?|$)") {
    return (pass);
  }
  call judge_query;
  call carry_cache_control;
  call require_body_hash;
  call join_credentials;
  call whole_answers;
  return;
}

# In place of the builtin's pass: the credential is part of the key.
sub vcl_req_authorization {
  return;
}

# Varnish drops Cache-Control from a cacheable fetch, but the backend has a say too.
sub carry_cache_control {
  std.collect(req.http.Cache-Control);
  if (req.http.Cache-Control) {
    set req.http.X-Client-Cache-Control = req.http.Cache-Control;
    call obey_cache_control;
  }
}

# The filter in front makes it from the body. Lines of a client that sent several are joined, and thereby malformed.
sub require_body_hash {
  std.collect(req.http.X-Body-Hash);
  if (req.http.X-Body-Hash !~ "^[0-9a-f]{64}$") {
    return (pass);
  }
}

# VCL sees only the first line of a header: a second one would not be in the key.
sub join_credentials {
  std.collect(req.http.Authorization);
  std.collect(req.http.api-key);
  std.collect(req.http.x-api-key);
  std.collect(req.http.OpenAI-Organization);
  std.collect(req.http.OpenAI-Project);
  call join_forward_headers;
}

# A POST is answered with all of it; Varnish would make 304 and 206 of a hit.
sub whole_answers {
  unset req.http.If-Match;
  unset req.http.If-Modified-Since;
  unset req.http.If-None-Match;
  unset req.http.If-Range;
  unset req.http.If-Unmodified-Since;
  unset req.http.Range;
}

# A miss and a later refetch both need the body. Nothing can be done once buffering failed (Varnish drops the
# connection), so what might fail passes: a body of unknown length, one over 1 MiB (the most that the filter hashes),
# and any while the store for bodies has no room. The margin is for requests that ask at the same moment. A restart
# finds it buffered.
sub buffer_body {
  if (req.restarts > 0) {
    return;
  }
  if (std.integer(req.http.Content-Length, 1048577) > 1048576) {
    return (pass);
  }
  if (storage.body.free_space < 16MB) {
    return (pass);
  }
  set req.storage = storage.body;
  if (!std.cache_req_body(1MB)) {
    return (synth(400, "The request's body could not be read."));
  }
}

# Varnish ends each part with zero bytes, which no header can hold, and writes some for a header that is not there: with a
# name in front of each, parts cannot run into each other. The builtin adds the URL and the client's Host.
sub vcl_hash {
  hash_data(req.method);
  hash_data(req.http.X-Body-Hash);
  hash_data("authorization");
  hash_data(req.http.Authorization);
  hash_data("api-key");
  hash_data(req.http.api-key);
  hash_data("x-api-key");
  hash_data(req.http.x-api-key);
  hash_data("openai-organization");
  hash_data(req.http.OpenAI-Organization);
  hash_data("openai-project");
  hash_data(req.http.OpenAI-Project);
  call hash_forward_headers;
}

#
# Backend side
#

sub vcl_backend_fetch {
  call address_backend;
  unset bereq.http.X-Directives;
  unset bereq.http.X-Forward-Reason;
  unset bereq.http.X-No-Body;
  unset bereq.http.X-Older;
  unset bereq.http.X-Refresh;
  # Varnish makes a GET of what was looked up, and nothing but POST is.
  if (!bereq.uncacheable) {
    set bereq.method = "POST";
  }
}

# Without a Host, Varnish writes the .host_header of backend.vcl. The client's Host is for the key only.
sub address_backend {
  unset bereq.http.Host;
  unset bereq.http.X-Varnish;
  unset bereq.http.X-Vinyl;
  # OpenAI's SDKs wait ten minutes. A reasoning model may be silent as long between two events.
  set bereq.first_byte_timeout = 630s;
  set bereq.between_bytes_timeout = 630s;
}

sub vcl_backend_response {
  if (bereq.url ~ "^/(?:(?:openai/)?v1|openai/deployments/[^/?]+)/embeddings(?:\?|$)") {
    call ban_refused_scope;
  }
  if (bereq.uncacheable) {
    return (deliver);
  }
  call keep_stale;
  call refuse_failures;
  call refuse_size;
  call store;
}

# Any answer to the refetch of a stale object replaces it: one that only says "not now" must not arrive.
sub keep_stale {
  if (bereq.is_bgfetch && (beresp.status == 429 || beresp.status >= 500)) {
    return (abandon);
  }
}

# Only a 200 that says for how long it is good may be stored. The builtin checks the rest (no-store, private, Vary:
# *).
sub refuse_failures {
  if (beresp.status != 200 || beresp.http.Cache-Control !~ "(?i)(?:^|[,\s])(?:s-maxage|max-age)=") {
    call not_now;
  }
}

# Side by side, not one after the other: that takes a ttl. It is short, since it also hides an older, good object.
sub not_now {
  set beresp.uncacheable = true;
  set beresp.ttl = 1s;
  set beresp.grace = 0s;
  set beresp.keep = 0s;
  return (deliver);
}

# 8 MiB hold a thousand vectors. Without a length there is no saying.
sub refuse_size {
  if (std.integer(beresp.http.Content-Length, 8388609) > 8388608) {
    call not_now;
  }
}

sub store {
  # The backend may say less, not more.
  if (beresp.ttl > 1h) {
    set beresp.ttl = 1h;
  }
  set beresp.grace = 24h;
  set beresp.keep = 0s;
  set beresp.storage = storage.objects;
  # A truncated answer is then a clean 503 for all that wait, and never a 200 that breaks off.
  set beresp.do_stream = false;
  # Bans read obj.* only, and one line of a header, so that the ban lurker can work them off.
  set beresp.http.X-Stored-URL = bereq.url;
  call mark_fetch;
  std.collect(beresp.http.Surrogate-Key, " ");
  # A cookie is one client's. A validator would make the next fetch conditional, with a POST.
  unset beresp.http.Set-Cookie;
  unset beresp.http.ETag;
  unset beresp.http.Last-Modified;
}

# No backend, or not in time, or not a whole answer.
sub vcl_backend_error {
  if (bereq.is_bgfetch) {
    return (abandon);
  }
  # Varnish sets a ttl for the requests that wait for this very answer; no later one may have it.
  set beresp.grace = 0s;
  set beresp.keep = 0s;
  set beresp.http.Content-Type = "application/json";
  set beresp.http.Retry-After = "1";
  set beresp.body = {"{"error":{"message":"The backend did not answer.","type":"server_error","param":null,"code":"backend_unavailable""} + "}}";
  return (deliver);
}

#
# Answers
#

# The reason is told only where the shared answer is an error: one that several waited for.
sub vcl_hit {
  set req.http.X-Forward-Reason = "uri-miss; collapsed";
  call refresh_hit;
  # For a refusal of the refetch: see ban_refused_scope.
  if (obj.ttl <= 0s) {
    set req.http.X-Varnish-Tags = obj.http.Surrogate-Key;
  }
}

sub vcl_miss {
  if (req.http.X-Refresh) {
    call refresh_miss;
    set req.http.X-Forward-Reason = "request";
  } else {
    set req.http.X-Forward-Reason = "uri-miss";
  }
}

sub vcl_pass {
  set req.http.X-Forward-Reason = "bypass";
}

sub vcl_deliver {
  if (obj.hits > 0) {
    call forget_first_call;
  }
  call end_older;
  call tell_cache_status;
  unset resp.http.Surrogate-Key;
  unset resp.http.X-Stored-Fetch;
  unset resp.http.X-Stored-Key;
  unset resp.http.X-Stored-URL;
}

# What an answer tells of the call that fetched it is for that call alone.
sub forget_first_call {
  set resp.http.x-embedding-billed-tokens = "0";
  unset resp.http.openai-processing-ms;
  unset resp.http.x-request-id;
  unset resp.http.apim-request-id;
  unset resp.http.x-ms-request-id;
  unset resp.http.cf-ray;
  unset resp.http.x-envoy-upstream-service-time;
  call forget_rate_limits;
  # Clients that waited for one failed fetch share its advice, too.
  if (resp.status == 200) {
    unset resp.http.retry-after;
    unset resp.http.retry-after-ms;
    unset resp.http.x-ms-retry-after-ms;
    unset resp.http.x-should-retry;
  }
}

# OpenAI's by call and by project, Azure's, and what others send.
sub forget_rate_limits {
  unset resp.http.x-ratelimit-limit;
  unset resp.http.x-ratelimit-limit-requests;
  unset resp.http.x-ratelimit-limit-tokens;
  unset resp.http.x-ratelimit-limit-project-requests;
  unset resp.http.x-ratelimit-limit-project-tokens;
  unset resp.http.x-ratelimit-remaining;
  unset resp.http.x-ratelimit-remaining-requests;
  unset resp.http.x-ratelimit-remaining-tokens;
  unset resp.http.x-ratelimit-remaining-project-requests;
  unset resp.http.x-ratelimit-remaining-project-tokens;
  unset resp.http.x-ratelimit-renewalperiod-requests;
  unset resp.http.x-ratelimit-renewalperiod-tokens;
  unset resp.http.x-ratelimit-reset;
  unset resp.http.x-ratelimit-reset-requests;
  unset resp.http.x-ratelimit-reset-tokens;
  unset resp.http.x-ratelimit-reset-project-requests;
  unset resp.http.x-ratelimit-reset-project-tokens;
}

# RFC 9211: appended to what the caches behind have said.
sub tell_cache_status {
  std.collect(resp.http.Cache-Status, ", ");
  if (resp.http.Cache-Status) {
    set resp.http.Cache-Status = resp.http.Cache-Status + ", ";
  }
  if (obj.hits > 0 && resp.status == 200) {
    set resp.http.Cache-Status = resp.http.Cache-Status + "Varnish; hit; ttl=" + regsub(obj.ttl, "[.].*", "");
    return;
  }
  set resp.http.Cache-Status = resp.http.Cache-Status + "Varnish; fwd=" + req.http.X-Forward-Reason;
  if (!obj.uncacheable && resp.status == 200) {
    set resp.http.Cache-Status = resp.http.Cache-Status + "; stored";
  }
}

# What was purged, or our own refusal in OpenAI's envelope. A long string ends at its first quote and brace, hence the
# seams.
sub vcl_synth {
  set resp.http.Content-Type = "application/json";
  if (req.http.X-Purged) {
    set resp.body = {"{"pod":""} + server.identity + {"","banned":"} + req.http.X-Purged + "}";
  } else {
    set resp.body = {"{"error":{"message":""} + resp.reason + {"","type":"invalid_request_error","param":null,"code":null"} + "}}";
  }
  return (deliver);
}

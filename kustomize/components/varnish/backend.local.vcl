# Where the backend is, on one machine: its port in place of @PORT@.
include "probe.vcl";

backend default {
  .host = "127.0.0.1";
  .port = "@PORT@";
  .host_header = "127.0.0.1:@PORT@";
  .probe = backend_ready;
}

# The same address spelt otherwise, so that Varnish keeps its idle connections apart: here none are left to be used
# again.
backend unused_connections {
  .host = "::ffff:127.0.0.1";
  .port = "@PORT@";
  .host_header = "127.0.0.1:@PORT@";
}

# When a connection that was used before breaks, Varnish sends again what it still has all of, and the backend may
# have taken it. Only a body that passes goes on as it comes, and is never sent twice.
sub vcl_backend_fetch {
  if ((!bereq.uncacheable || bereq.http.X-No-Body) && std.healthy(bereq.backend)) {
    set bereq.http.Connection = "close";
    set bereq.backend = unused_connections;
  }
}

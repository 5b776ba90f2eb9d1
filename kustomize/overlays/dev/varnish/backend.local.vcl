# Where the backend is, on one machine: its port in place of @PORT@.
include "probe.vcl";

backend default {
  .host = "127.0.0.1";
  .port = "@PORT@";
  .host_header = "127.0.0.1:@PORT@";
  .probe = backend_ready;
}

# Where the backend is, in the cluster.
include "probe.vcl";

backend default {
  .host = "embedding-gateway-backend";
  .port = "8080";
  .host_header = "embedding-gateway-backend:8080";
  .probe = backend_ready;
}

# Where the backend is, in the cluster. What Varnish connects to is its sidecar, which answers 503 when the backend
# breaks off: nothing is sent twice, and connections are used again.
include "probe.vcl";

backend default {
  .host = "embedding-gateway-backend";
  .port = "8080";
  .host_header = "embedding-gateway-backend:8080";
  .probe = backend_ready;
}

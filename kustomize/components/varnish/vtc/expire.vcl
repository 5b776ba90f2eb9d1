# For tests: a request with X-Expire makes the object that it hits stale at once, as an hour would. Read after default.vcl.
import purge;

sub vcl_hit {
  if (req.http.X-Expire) {
    purge.soft(0s);
    return (synth(200, "expired"));
  }
}

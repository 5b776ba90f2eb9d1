-- wrk: POST a body of BODY_BYTES bytes; print what was measured as one line of JSON.

wrk.method = "POST"
wrk.body = string.rep("x", tonumber(os.getenv("BODY_BYTES")))

function done(summary, latency)
  local failed = summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.status + summary.errors.timeout
  io.write(string.format(
    '\n{"p50_us": %d, "p99_us": %d, "per_second": %.2f, "failed": %d}\n',
    latency:percentile(50), latency:percentile(99), summary.requests * 1e6 / summary.duration, failed
  ))
end

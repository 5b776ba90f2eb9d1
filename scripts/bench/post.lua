-- wrk: POST the file BODY_FILE, or BODY_BYTES bytes; print what was measured as one line of JSON.

wrk.method = "POST"
if os.getenv("BODY_FILE") then
  local file = assert(io.open(os.getenv("BODY_FILE"), "rb"))
  wrk.body = file:read("*a")
  file:close()
else
  wrk.body = string.rep("x", tonumber(os.getenv("BODY_BYTES")))
end

function done(summary, latency)
  local failed = summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.status + summary.errors.timeout
  io.write(string.format(
    '\n{"p50_us": %d, "p99_us": %d, "per_second": %.2f, "failed": %d}\n',
    latency:percentile(50), latency:percentile(99), summary.requests * 1e6 / summary.duration, failed
  ))
end

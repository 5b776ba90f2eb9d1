-- wrk: POST the file BODY_FILE, or BODY_BYTES bytes; print what was measured as one line of JSON.
-- With BODY_FIRST the @ in the body becomes a number: that one and those that follow it, or with BODY_KEYS so many of them by chance.

wrk.method = os.getenv("METHOD") or "POST"
if os.getenv("BODY_FILE") then
  local file = assert(io.open(os.getenv("BODY_FILE"), "rb"))
  wrk.body = file:read("*a")
  file:close()
elseif os.getenv("BODY_BYTES") then
  wrk.body = string.rep("x", tonumber(os.getenv("BODY_BYTES")))
end

local first, keys = tonumber(os.getenv("BODY_FIRST")), tonumber(os.getenv("BODY_KEYS"))
if first then
  local head, tail = wrk.body:match("^([^@]*)@(.*)$")
  local number = first - 1
  request = function()
    number = keys and first + math.random(0, keys - 1) or number + 1
    return wrk.format(nil, nil, nil, head .. string.format("%d", number) .. tail)
  end
end

function done(summary, latency)
  local failed = summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.status + summary.errors.timeout
  io.write(string.format(
    '\n{"p50_us": %d, "p99_us": %d, "per_second": %.2f, "requests": %d, "answer_bytes": %.1f, "failed": %d}\n',
    latency:percentile(50), latency:percentile(99), summary.requests * 1e6 / summary.duration, summary.requests,
    summary.bytes / math.max(summary.requests, 1), failed
  ))
end

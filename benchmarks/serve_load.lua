-- wrk posts the multipart bodies that BODIES names, in turn, and ends with one line of JSON.
local bodies = {}
local at = 0

function init(args)
  for path in io.lines(os.getenv("BODIES")) do
    local file = io.open(path, "rb")
    bodies[#bodies + 1] = file:read("*a")
    file:close()
  end
  wrk.method = "POST"
  wrk.headers["Content-Type"] = "multipart/form-data; boundary=" .. os.getenv("BOUNDARY")
end

function request()
  at = at % #bodies + 1
  return wrk.format(nil, nil, nil, bodies[at])
end

function done(summary, latency, requests)
  local errors = summary.errors
  local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
  print(string.format(
    '{"requests": %d, "seconds": %.3f, "errors": %d, "p50": %.2f, "p90": %.2f, "p99": %.2f, "max": %.2f}',
    summary.requests, summary.duration / 1e6, failed, latency:percentile(50) / 1000,
    latency:percentile(90) / 1000, latency:percentile(99) / 1000, latency.max / 1000))
end

-- Requests for wrk. Arguments: a file of paths, one a line (with PUT: path, item and document,
-- separated by tabs), and for PUT a file with the body, in which ITEM, DOCUMENT and STAMP are
-- placeholders.
local lines, requests, body, stamp = {}, {}, nil, 0

function init(arguments)
  for line in io.lines(arguments[1]) do
    lines[#lines + 1] = line
  end
  if arguments[2] then
    local file = io.open(arguments[2])
    body = file:read("*a")
    file:close()
  end
  math.randomseed(os.time() + tonumber(tostring({}):sub(8, 14), 16) % 100000)
  stamp = math.random(1000000)
end

function request()
  local line = lines[math.random(#lines)]
  if body then
    local path, item, document = line:match("^(.-)\t(.-)\t(.-)$")
    stamp = stamp + 1
    local values = { ITEM = item, DOCUMENT = document, STAMP = tostring(stamp) }
    return wrk.format("PUT", path, nil, (body:gsub("%u+", values)))
  end
  requests[line] = requests[line] or wrk.format("GET", line)
  return requests[line]
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    'measured {"requests": %d, "microseconds": %d, "p50": %d, "p99": %d, '
      .. '"rejected": %d, "broken": %d}\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end

-- Exactly so many requests, then the end: wrk itself only knows durations. One thread.
local ffi = require("ffi")
ffi.cdef("int getpid(void); int kill(int pid, int signal);")
local SIGINT = 2

local limit, connections
-- wrk calls request() once more than it sends, to check it.
local sent, parked = -1, 0

function init(arguments)
  limit, connections = tonumber(arguments[1]), tonumber(arguments[2])
end

function request()
  if sent < limit then
    sent = sent + 1
    return wrk.format()
  end
  -- Called when this connection's last response was complete: send nothing, end with the last connection.
  parked = parked + 1
  if parked == connections then
    ffi.C.kill(ffi.C.getpid(), SIGINT)
  end
  return ""
end

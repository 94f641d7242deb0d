# A Rack application for Puma. GET /r/<n>?mode=<mode>&calls=<count>: each call downstream has a code of its own, drawn here;
# `code n` goes to the file that the environment names, and nothing else links the two.
require 'net/http'
require 'securerandom'

CONNECTIONS_MAX = 32
SLEEP_SECONDS_MAX = 0.02
DOWNSTREAM = URI(ENV.fetch('DOWNSTREAM'))
TRUTH = File.open(ENV.fetch('TRUTH'), 'a').tap { |file| file.sync = true }

# Connections that are free; whoever finds none waits for another's.
POOL = Queue.new
CONNECTIONS_MAX.times do
  connection = Net::HTTP.new(DOWNSTREAM.host, DOWNSTREAM.port)
  connection.use_ssl = DOWNSTREAM.scheme == 'https'
  connection.keep_alive_timeout = 60
  POOL << connection
end

def call(n, mode, headers)
  sleep(rand * SLEEP_SECONDS_MAX) if mode == 'sleep'
  code = SecureRandom.hex(8)
  TRUTH.write("#{code} #{n}\n")
  connection = POOL.pop
  begin
    connection.start unless connection.started?
    connection.get("/d/#{code}", headers).value
  ensure
    POOL << connection
  end
end

run(lambda do |env|
  n = env['PATH_INFO'].delete_prefix('/r/')
  query = URI.decode_www_form(env['QUERY_STRING']).to_h
  mode = query['mode']
  headers = env['HTTP_X_REQUEST_ID'] ? { 'X-Request-Id' => env['HTTP_X_REQUEST_ID'] } : {}
  calls = Array.new(query['calls'].to_i) { -> { call(n, mode, headers) } }
  if mode == 'concurrent'
    calls.map { |each| Thread.new(&each) }.each(&:join)
  else
    calls.each(&:call)
  end
  [200, { 'Content-Type' => 'text/plain' }, ['ok']]
end)

"""The standard library's threaded server: a thread per connection."""

import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import blocking
import work


class App(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        blocking.run(work.parse(self.path, self.headers["X-Request-Id"]))
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, format, *args):
        pass


class Server(ThreadingHTTPServer):
    request_queue_size = 128


Server((os.environ["HOST"], int(os.environ["PORT"])), App).serve_forever()

"""Accepts connections and takes what comes, whatever it is. Knows nothing of tracing."""

import os
from socketserver import BaseRequestHandler, ThreadingTCPServer


class Sink(BaseRequestHandler):
    def handle(self):
        while self.request.recv(65536):
            pass


class Server(ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 128


Server((os.environ["HOST"], int(os.environ["PORT"])), Sink).serve_forever()

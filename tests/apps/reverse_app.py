"""An HTTP service in front of one that turns lines round (openssl s_server -rev), which it reaches by TLS. Knows nothing of tracing."""

import os
import socket
import ssl
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

context = ssl.create_default_context(cafile=os.environ["REVERSE_CA"])
plain = socket.create_connection(("127.0.0.1", int(os.environ["REVERSE_PORT"])))
lines = context.wrap_socket(plain, server_hostname="localhost").makefile("rwb")


class App(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        """/reverse/WORD: the word from back to front."""
        lines.write(self.path.rpartition("/")[2].encode() + b"\n")
        lines.flush()
        body = lines.readline().strip()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format, *args):
        pass


ThreadingHTTPServer((os.environ["HOST"], int(os.environ["PORT"])), App).serve_forever()

"""The standard library's HTTP server: a thread for each connection, or with FORK a process. Knows nothing of tracing."""

import json
import os
import socket
import ssl
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from socketserver import ForkingMixIn, ThreadingMixIn
from urllib.parse import parse_qs, urlsplit

import requests

NEXT = os.environ.get("NEXT")
BLOCK = b"x" * 65536
client = requests.Session()


class App(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status=200, body=b"", kind="text/plain"):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        url = urlsplit(self.path)
        page, _, argument = url.path[1:].partition("/")
        if page == "hello":
            self.answer(body=b"hello")
        elif page == "chain":
            self.chain()
        elif page == "size":
            self.size(int(argument))
        elif page == "status":
            self.answer(int(argument))
        elif page == "slow":
            time.sleep(int(parse_qs(url.query)["ms"][0]) / 1000)
            self.answer(body=b"slow")
        else:
            self.answer(404)

    def chain(self):
        if not NEXT:
            self.answer(body=json.dumps(dict(self.headers)).encode(), kind="application/json")
            return
        answer = client.get(NEXT, timeout=10)
        self.answer(answer.status_code, answer.content, answer.headers["content-type"])

    def size(self, count):
        self.send_response(200)
        self.send_header("Content-Length", str(count))
        self.end_headers()
        for start in range(0, count, len(BLOCK)):
            self.wfile.write(BLOCK[: count - start])

    def do_POST(self):
        left = int(self.headers["Content-Length"])
        received = 0
        while received < left:
            received += len(self.rfile.read(min(left - received, len(BLOCK))))
        self.answer(body=str(received).encode())

    def log_message(self, format, *args):
        pass


class Server(ForkingMixIn if os.environ.get("FORK") else ThreadingMixIn, HTTPServer):
    daemon_threads = True
    address_family = socket.AF_INET6 if ":" in os.environ["HOST"] else socket.AF_INET
    request_queue_size = 128


server = Server((os.environ["HOST"], int(os.environ["PORT"])), App)
if certificate := os.environ.get("TLS_CERTIFICATE"):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, os.environ["TLS_KEY"])
    # Hands are shaken in accept(), by the thread that starts the others.
    server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()

"""Serves HTTP on PORT. Only when /later is asked for it loads a TLS library, and serves HTTPS on TLS_PORT. Its HTTP is done by
hand because the standard library's would load the TLS library at once. Knows nothing of tracing."""

import os
import sys
from socketserver import StreamRequestHandler, ThreadingTCPServer
from threading import Thread


class App(StreamRequestHandler):
    def handle(self):
        while line := self.rfile.readline():
            while self.rfile.readline().strip():
                pass
            if line.split()[1] == b"/later":
                serve_tls()
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")


class Server(ThreadingTCPServer):
    daemon_threads = True


def serve_tls():
    assert "ssl" not in sys.modules
    import ssl

    server = Server((os.environ["HOST"], int(os.environ["TLS_PORT"])), App)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(os.environ["TLS_CERTIFICATE"], os.environ["TLS_KEY"])
    server.socket = context.wrap_socket(server.socket, server_side=True)
    Thread(target=server.serve_forever, daemon=True).start()


Server((os.environ["HOST"], int(os.environ["PORT"])), App).serve_forever()

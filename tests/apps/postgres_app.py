"""An HTTP service in front of a PostgreSQL database that it reaches by TLS. Knows nothing of tracing."""

import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import psycopg

# sslmode=require; libpq and libssl are those bundled with psycopg's wheel.
database = psycopg.connect(os.environ["DATABASE"], autocommit=True)


class App(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        """/query/N: N by way of the database, and whether TLS was used for it."""
        number = int(self.path.rpartition("/")[2])
        row = database.execute("SELECT %s::int", [number]).fetchone()
        body = f"{row[0]} {bool(database.pgconn.ssl_in_use)}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format, *args):
        pass


ThreadingHTTPServer((os.environ["HOST"], int(os.environ["PORT"])), App).serve_forever()

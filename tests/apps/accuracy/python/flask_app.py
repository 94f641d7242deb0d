"""Flask, under gunicorn or with its own threaded server."""

import logging
import os

from flask import Flask, request

import blocking
import work

app = Flask(__name__)


@app.get("/r/<n>")
def serve(n):
    blocking.run(work.parse(request.full_path, request.headers.get("X-Request-Id")))
    return "ok"


if __name__ == "__main__":
    from werkzeug.serving import WSGIRequestHandler

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    WSGIRequestHandler.protocol_version = "HTTP/1.1"
    app.run(os.environ["HOST"], int(os.environ["PORT"]), threaded=True)

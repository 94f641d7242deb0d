"""A Flask service, run under gunicorn. Knows nothing of tracing."""

import os
import time

import requests
from flask import Flask, Response, jsonify, request

app = Flask(__name__)
client = requests.Session()
NEXT = os.environ.get("NEXT")
BLOCK = b"x" * 65536


@app.get("/hello")
def hello():
    return "hello"


@app.get("/chain")
def chain():
    """The body of the next service, or, at the end of the chain, the headers that arrived there."""
    if not NEXT:
        return jsonify(dict(request.headers))
    answer = client.get(NEXT, timeout=10)
    return Response(answer.content, answer.status_code, content_type=answer.headers["content-type"])


@app.get("/size/<int:count>")
def size(count):
    def blocks():
        for start in range(0, count, len(BLOCK)):
            yield BLOCK[: count - start]

    return Response(blocks(), headers={"Content-Length": str(count)})


@app.post("/upload")
def upload():
    received = 0
    while block := request.stream.read(len(BLOCK)):
        received += len(block)
    return str(received)


@app.get("/status/<int:code>")
def status(code):
    return "", code


@app.get("/slow")
def slow():
    time.sleep(int(request.args["ms"]) / 1000)
    return "slow"

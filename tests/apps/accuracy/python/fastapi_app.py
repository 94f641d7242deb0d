"""FastAPI with a plain function as endpoint: it runs in anyio's thread pool."""

from fastapi import FastAPI, Request
from fastapi.responses import PlainTextResponse

import blocking
import work

app = FastAPI()


@app.get("/r/{n}", response_class=PlainTextResponse)
def serve(request: Request):
    target = f"{request.url.path}?{request.url.query}"
    blocking.run(work.parse(target, request.headers.get("x-request-id")))
    return "ok"

"""A FastAPI service, run under uvicorn, granian or hypercorn; HTTP2 lets its client speak that alone. Knows nothing of tracing."""

import asyncio
import os

import httpx
from fastapi import FastAPI, Request, Response
from fastapi.responses import PlainTextResponse, StreamingResponse

app = FastAPI()
HTTP2 = "HTTP2" in os.environ
client = httpx.AsyncClient(timeout=10, http1=not HTTP2, http2=HTTP2)
NEXT = os.environ.get("NEXT")
BLOCK = b"x" * 65536


@app.get("/hello", response_class=PlainTextResponse)
async def hello():
    return "hello"


@app.get("/chain")
async def chain(request: Request):
    if not NEXT:
        return dict(request.headers)
    answer = await client.get(NEXT)
    return Response(answer.content, answer.status_code, media_type=answer.headers["content-type"])


@app.get("/fan/{count}")
async def fan(count: int):
    """Calls NEXT + "1", NEXT + "2", … at the same time; bytes that came, one number for each."""
    answers = await asyncio.gather(*(client.get(f"{NEXT}{number}") for number in range(1, count + 1)))
    return [len(answer.content) for answer in answers]


@app.get("/size/{count}")
async def size(count: int):
    async def blocks():
        for start in range(0, count, len(BLOCK)):
            yield BLOCK[: count - start]

    return StreamingResponse(blocks(), headers={"Content-Length": str(count)})


@app.post("/upload", response_class=PlainTextResponse)
async def upload(request: Request):
    received = 0
    async for block in request.stream():
        received += len(block)
    return str(received)


@app.get("/status/{code}")
async def status(code: int):
    return Response(status_code=code)


@app.get("/slow", response_class=PlainTextResponse)
async def slow(ms: int):
    await asyncio.sleep(ms / 1000)
    return "slow"

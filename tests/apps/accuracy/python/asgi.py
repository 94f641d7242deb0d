"""A bare ASGI application, for uvicorn and hypercorn."""

import awaiting
import work


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
        return
    headers = dict(scope["headers"])
    target = f"{scope['path']}?{scope['query_string'].decode()}"
    await awaiting.run(work.parse(target, headers.get(b"x-request-id", b"").decode()))
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


async def lifespan(receive, send):
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            awaiting.start()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return

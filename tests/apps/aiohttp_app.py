"""An aiohttp service and client; LOOP=uvloop puts it on that loop. Knows nothing of tracing."""

import asyncio
import os
import ssl

from aiohttp import ClientSession, web

NEXT = os.environ.get("NEXT")
BLOCK = b"x" * 65536
CLIENT = web.AppKey("client", ClientSession)
routes = web.RouteTableDef()


@routes.get("/hello")
async def hello(request):
    return web.Response(text="hello")


@routes.get("/chain")
async def chain(request):
    if not NEXT:
        return web.json_response(dict(request.headers))
    async with request.app[CLIENT].get(NEXT) as answer:
        return web.Response(body=await answer.read(), status=answer.status, content_type=answer.content_type)


@routes.get("/fan/{count}")
async def fan(request):
    """Calls NEXT + "1", NEXT + "2", … at the same time; bytes that came, one number for each."""

    async def call(number):
        async with request.app[CLIENT].get(f"{NEXT}{number}") as answer:
            return len(await answer.read())

    numbers = range(1, int(request.match_info["count"]) + 1)
    return web.json_response(await asyncio.gather(*map(call, numbers)))


@routes.get("/size/{count}")
async def size(request):
    count = int(request.match_info["count"])
    response = web.StreamResponse(headers={"Content-Length": str(count)})
    await response.prepare(request)
    for start in range(0, count, len(BLOCK)):
        await response.write(BLOCK[: count - start])
    return response


@routes.post("/upload")
async def upload(request):
    received = 0
    async for block in request.content.iter_any():
        received += len(block)
    return web.Response(text=str(received))


@routes.get("/status/{code}")
async def status(request):
    return web.Response(status=int(request.match_info["code"]))


@routes.get("/slow")
async def slow(request):
    await asyncio.sleep(int(request.query["ms"]) / 1000)
    return web.Response(text="slow")


async def client(app):
    async with ClientSession() as session:
        app[CLIENT] = session
        yield


def tls():
    if certificate := os.environ.get("TLS_CERTIFICATE"):
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate, os.environ["TLS_KEY"])
        return context


def loop():
    if os.environ.get("LOOP") == "uvloop":
        import uvloop

        return uvloop.new_event_loop()
    return asyncio.new_event_loop()


app = web.Application()
app.add_routes(routes)
app.cleanup_ctx.append(client)
address = {"host": os.environ["HOST"], "port": int(os.environ["PORT"])}
web.run_app(app, **address, ssl_context=tls(), loop=loop(), keepalive_timeout=60, print=None, access_log=None)

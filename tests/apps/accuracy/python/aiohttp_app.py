"""aiohttp's server: a task per connection, on asyncio's own loop or on uvloop, as LOOP says."""

import os

from aiohttp import web

import awaiting
import work


async def serve(request):
    await awaiting.run(work.parse(request.path_qs, request.headers.get("X-Request-Id")))
    return web.Response(text="ok")


def loop():
    if os.environ["LOOP"] == "uvloop":
        import uvloop

        return uvloop.new_event_loop()
    return None


async def start(app):
    awaiting.start()


app = web.Application()
app.on_startup.append(start)
app.router.add_get("/r/{n}", serve)
web.run_app(app, host=os.environ["HOST"], port=int(os.environ["PORT"]), loop=loop(), access_log=None, print=None)

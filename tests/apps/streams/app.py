"""Python: serves HTTP/1, or gRPC where HTTP2 is set; for each request it makes one on the only gRPC channel to NEXT, with a number
that it draws, and answers with that number and what came of it. On threads, or with LOOP on an event loop. Knows nothing of
tracing."""

import asyncio
import os
import random
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import grpc
import grpc.aio
from aiohttp import web

HOST, PORT, NEXT = os.environ["HOST"], int(os.environ["PORT"]), os.environ.get("NEXT")
TARGET = NEXT and urlsplit(NEXT).netloc
ADDRESS = f"{HOST}:{PORT}"


def number():
    return random.randrange(2**52)


def delay():
    return 0.004 * random.random()


class Threads:
    def __init__(self):
        self.channel = TARGET and grpc.insecure_channel(TARGET)

    def work(self, *_):
        if not self.channel:
            time.sleep(delay())
            return b""
        drawn = number()
        return b"%d %s" % (drawn, self.channel.unary_unary(f"/item/{drawn}")(b""))

    def serve(self):
        if os.environ.get("HTTP2"):
            server = grpc.server(ThreadPoolExecutor(16), [Any(self.work)])
            server.add_insecure_port(ADDRESS)
            server.start()
            server.wait_for_termination()
        work = self.work

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1

            def do_GET(self):
                body = work()
                self.send_response(200)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        ThreadingHTTPServer((HOST, PORT), Handler).serve_forever()


class Tasks:
    async def work(self, *_):
        if not self.channel:
            await asyncio.sleep(delay())
            return b""
        drawn = number()
        return b"%d %s" % (drawn, await self.channel.unary_unary(f"/item/{drawn}")(b""))

    async def serve(self):
        self.channel = TARGET and grpc.aio.insecure_channel(TARGET)
        if os.environ.get("HTTP2"):
            server = grpc.aio.server(handlers=[Any(self.work)])
            server.add_insecure_port(ADDRESS)
            await server.start()
            return await server.wait_for_termination()

        async def handle(_):
            return web.Response(body=await self.work())

        app = web.Application()
        app.router.add_get("/{path:.*}", handle)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, HOST, PORT).start()
        await asyncio.Event().wait()


class Any(grpc.GenericRpcHandler):
    """Every method is the same."""

    def __init__(self, work):
        self.handler = grpc.unary_unary_rpc_method_handler(work)

    def service(self, _):
        return self.handler


if os.environ.get("LOOP"):
    asyncio.run(Tasks().serve())
else:
    Threads().serve()

"""A gRPC service of plain bytes by grpcio, on threads, or with LOOP=asyncio on an event loop. Knows nothing of tracing.

`autospan.test.Echo`: a message is its own answer, but for
  ServerStream  as many messages as the request says
  ClientStream  the number of messages
  Fail          the status that the request names, and nothing else
  FailLate      one message, then that
  Slow          so many milliseconds later
  Chain         the answer of the next service, NEXT
"""

import asyncio
import os
import time
from concurrent.futures import ThreadPoolExecutor

import grpc
import grpc.aio

NEXT = os.environ.get("NEXT")
CHAIN = "/autospan.test.Echo/Chain"
STATUS = {code.value[0]: code for code in grpc.StatusCode}
ADDRESS = f"{os.environ['HOST']}:{os.environ['PORT']}"


def code_of(request):
    return STATUS[int(request)]


class Threads:
    def __init__(self):
        self.next = NEXT and grpc.insecure_channel(NEXT).unary_unary(CHAIN)

    def unary(self, request, context):
        return request

    def server_stream(self, request, context):
        for number in range(int(request)):
            yield b"%d" % number

    def client_stream(self, requests, context):
        return b"%d" % sum(1 for _ in requests)

    def bidi(self, requests, context):
        yield from requests

    def fail(self, request, context):
        context.abort(code_of(request), "as asked")

    def fail_late(self, request, context):
        yield request
        context.abort(code_of(request), "as asked")

    def slow(self, request, context):
        time.sleep(int(request) / 1000)
        return request

    def chain(self, request, context):
        return self.next(request) if self.next else request


class Tasks:
    def __init__(self):
        self.next = NEXT and grpc.aio.insecure_channel(NEXT).unary_unary(CHAIN)

    async def unary(self, request, context):
        return request

    async def server_stream(self, request, context):
        for number in range(int(request)):
            yield b"%d" % number

    async def client_stream(self, requests, context):
        return b"%d" % len([request async for request in requests])

    async def bidi(self, requests, context):
        async for request in requests:
            yield request

    async def fail(self, request, context):
        await context.abort(code_of(request), "as asked")

    async def fail_late(self, request, context):
        yield request
        await context.abort(code_of(request), "as asked")

    async def slow(self, request, context):
        await asyncio.sleep(int(request) / 1000)
        return request

    async def chain(self, request, context):
        return await self.next(request) if self.next else request


def handlers(echo):
    methods = {
        "Unary": grpc.unary_unary_rpc_method_handler(echo.unary),
        "ServerStream": grpc.unary_stream_rpc_method_handler(echo.server_stream),
        "ClientStream": grpc.stream_unary_rpc_method_handler(echo.client_stream),
        "Bidi": grpc.stream_stream_rpc_method_handler(echo.bidi),
        "Fail": grpc.unary_unary_rpc_method_handler(echo.fail),
        "FailLate": grpc.unary_stream_rpc_method_handler(echo.fail_late),
        "Slow": grpc.unary_unary_rpc_method_handler(echo.slow),
        "Chain": grpc.unary_unary_rpc_method_handler(echo.chain),
    }
    return [grpc.method_handlers_generic_handler("autospan.test.Echo", methods)]


def threads():
    server = grpc.server(ThreadPoolExecutor(16), handlers(Threads()))
    server.add_insecure_port(ADDRESS)
    server.start()
    server.wait_for_termination()


async def tasks():
    server = grpc.aio.server(handlers=handlers(Tasks()))
    server.add_insecure_port(ADDRESS)
    await server.start()
    await server.wait_for_termination()


if os.environ.get("LOOP"):
    asyncio.run(tasks())
else:
    threads()

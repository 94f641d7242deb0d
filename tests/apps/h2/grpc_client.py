"""A gRPC client by grpcio, with blocking calls, or with the argument `asyncio` with awaited ones. Each line of its input is a
call, as JSON: the address, the name and the kind of a method, the messages to send, and what else there is to it; each line
of its output is the status and the messages that came. Knows nothing of tracing."""

import asyncio
import json
import sys

import grpc
import grpc.aio

COMPRESSION = {True: grpc.Compression.Gzip, False: None}


class Calls:
    """By one channel for each address, as applications do it."""

    def __init__(self, connect):
        self.connect = connect
        self.channels = {}

    def start(self, call):
        channel = self.channels.get(call["address"]) or self.connect(call["address"])
        self.channels[call["address"]] = channel
        path = f"/autospan.test.Echo/{call['method']}"
        kinds = {
            "unary": channel.unary_unary,
            "server": channel.unary_stream,
            "client": channel.stream_unary,
            "bidi": channel.stream_stream,
        }
        messages = [message.encode() for message in call["messages"]]
        request = messages[0] if call["kind"] in ("unary", "server") else iter(messages)
        options = {
            "timeout": call.get("timeout", 10),
            "metadata": tuple(call.get("metadata", {}).items()),
            "compression": COMPRESSION[call.get("gzip", False)],
        }
        return kinds[call["kind"]](path), request, options


def blocking(calls, call):
    method, request, options = calls.start(call)
    received = []
    try:
        if call["kind"] in ("unary", "client"):
            received.append(method(request, **options))
            return "OK", received
        answers = method(request, **options)
        for message in answers:
            received.append(message)
            if call.get("cancel"):
                answers.cancel()
    except grpc.RpcError as error:
        return error.code().name, received
    return "OK", received


async def awaited(calls, call):
    method, request, options = calls.start(call)
    received = []
    try:
        if call["kind"] in ("unary", "client"):
            received.append(await method(request, **options))
            return "OK", received
        answers = method(request, **options)
        async for message in answers:
            received.append(message)
            if call.get("cancel"):
                answers.cancel()
    except asyncio.CancelledError:
        return "CANCELLED", received
    except grpc.aio.AioRpcError as error:
        return error.code().name, received
    return "OK", received


def answer(status, received):
    print(json.dumps({"status": status, "messages": [message.decode() for message in received]}), flush=True)


def threads():
    calls = Calls(grpc.insecure_channel)
    print("ready", flush=True)
    for line in sys.stdin:
        answer(*blocking(calls, json.loads(line)))


async def tasks():
    calls = Calls(grpc.aio.insecure_channel)
    print("ready", flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        answer(*await awaited(calls, json.loads(line)))


if sys.argv[1:] == ["asyncio"]:
    asyncio.run(tasks())
else:
    threads()

"""Calls from asyncio tasks by a pooled client: httpx or aiohttp, as CLIENT says."""

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor

import blocking
from work import CONNECTIONS_MAX, HEARTBEAT, TIMEOUT_SECONDS, WORKERS, pause

executor = ThreadPoolExecutor(WORKERS)


class Httpx:
    def __init__(self):
        import httpx

        limits = httpx.Limits(max_connections=CONNECTIONS_MAX)
        self.client = httpx.AsyncClient(timeout=TIMEOUT_SECONDS, limits=limits)

    async def call(self, request):
        (await self.client.get(request.draw(), headers=request.headers)).raise_for_status()


class Aiohttp:
    def __init__(self):
        import aiohttp

        connector = aiohttp.TCPConnector(limit=CONNECTIONS_MAX)
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
        self.session = aiohttp.ClientSession(connector=connector, timeout=timeout, trust_env=False)

    async def call(self, request):
        async with self.session.get(request.draw(), headers=request.headers) as answer:
            answer.raise_for_status()
            await answer.read()


client = None
# What runs with nobody waiting for it; asyncio itself holds no reference.
tasks = set()


async def call(request):
    global client
    if client is None:
        client = {"httpx": Httpx, "aiohttp": Aiohttp}[os.environ["CLIENT"]]()
    if request.mode in ("sleep", "after"):
        await asyncio.sleep(pause())
    if request.mode == "to-thread":
        await asyncio.to_thread(blocking.call, request)
    elif request.mode == "executor":
        await asyncio.get_running_loop().run_in_executor(executor, blocking.call, request)
    else:
        await client.call(request)


async def beat():
    while True:
        await call(HEARTBEAT)


def start():
    """To be called on the loop before it serves."""
    if HEARTBEAT:
        tasks.add(asyncio.create_task(beat()))


async def run(request):
    if request.mode in ("after", "concurrent"):
        calls = asyncio.gather(*(call(request) for _ in range(request.calls)))
        if request.mode == "after":
            tasks.add(calls)
            calls.add_done_callback(tasks.discard)
        else:
            await calls
        return
    for _ in range(request.calls):
        await call(request)

"""Calls by a pooled requests.Session, from threads. CALLS says which:

thread    the request's own; a new one per call where calls are concurrent
executor  a ThreadPoolExecutor's
queue     workers that take jobs from a queue.Queue
"""

import os
import queue
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import requests
from requests.adapters import HTTPAdapter

from work import CONNECTIONS_MAX, HEARTBEAT, TIMEOUT_SECONDS, WORKERS, pause

session = requests.Session()
for scheme in ("http://", "https://"):
    session.mount(scheme, HTTPAdapter(pool_maxsize=CONNECTIONS_MAX, pool_block=True))


def call(request):
    if request.mode in ("sleep", "after"):
        time.sleep(pause())
    session.get(request.draw(), headers=request.headers, timeout=TIMEOUT_SECONDS).raise_for_status()


class Threads:
    def one(self, request):
        call(request)

    def all(self, request):
        threads = [threading.Thread(target=call, args=[request]) for _ in range(request.calls)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


class Executor:
    def __init__(self):
        self.pool = ThreadPoolExecutor(WORKERS)

    def one(self, request):
        self.pool.submit(call, request).result()

    def all(self, request):
        for future in [self.pool.submit(call, request) for _ in range(request.calls)]:
            future.result()


class Queue:
    def __init__(self):
        self.jobs = queue.Queue()
        for _ in range(WORKERS):
            threading.Thread(target=self.work, daemon=True).start()

    def work(self):
        while True:
            request, done = self.jobs.get()
            try:
                done.put(call(request))
            except Exception as error:
                done.put(error)

    def submit(self, request, count):
        done = queue.Queue()
        for _ in range(count):
            self.jobs.put((request, done))
        for error in [done.get() for _ in range(count)]:
            if error:
                raise error

    def one(self, request):
        self.submit(request, 1)

    def all(self, request):
        self.submit(request, request.calls)


callers = {"thread": Threads, "executor": Executor, "queue": Queue}[os.environ["CALLS"]]()


def beat():
    while True:
        call(HEARTBEAT)


if HEARTBEAT:
    threading.Thread(target=beat, daemon=True).start()


def run(request):
    if request.mode == "after":
        threading.Thread(target=callers.all, args=[request]).start()
        return
    if request.mode == "concurrent":
        callers.all(request)
        return
    for _ in range(request.calls):
        callers.one(request)

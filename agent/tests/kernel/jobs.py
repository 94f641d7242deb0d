# Requests that leave jobs for threads in deques. Nobody answers them. Each call says whose it should be.
import collections, queue, socket, threading

requests = socket.create_server(("127.0.0.1", 0))
sink = socket.create_server(("127.0.0.1", 0))
own = threading.local()
open_sockets = []
called = threading.Semaphore(0)


def connect(listener):
    pair = socket.create_connection(listener.getsockname()), listener.accept()[0]
    open_sockets.extend(pair)
    return pair


def call(what):
    if not hasattr(own, "calls"):
        own.calls, _ = connect(sink)
    own.calls.send(what)
    called.release()


def ask(what, leave):
    """A thread reads a request and leaves its work."""
    client, server = connect(requests)
    client.send(what)
    thread = threading.Thread(target=lambda: leave(server.recv(100)))
    thread.start()
    thread.join()


def start(run):
    threading.Thread(target=run, daemon=True).start()


def wait_for_calls(count):
    for _ in range(count):
        assert called.acquire(timeout=10)


def works(jobs, at_once=1):
    """Takes jobs and calls for them, so many together."""
    while True:
        taken = [jobs.get() for _ in range(at_once)]
        call(b"call " + b"".join(taken))


def looks_around(jobs):
    """Takes jobs, and calls for nobody when there is none for a while."""
    while True:
        try:
            call(b"call " + jobs.get(timeout=0.05))
        except queue.Empty:
            call(b"nobody's")


def one_by_one(name, leave, count=8):
    for n in range(count):
        ask(b"%s%d." % (name, n), leave)
        wait_for_calls(1)


pool = collections.deque()


def borrow(_):
    """Takes a connection, as it may be, and puts it back."""
    pool.append(pool.popleft() if pool else object())


def borrows(turns):
    while True:
        turns.acquire()
        connection = pool.popleft()
        call(b"nobody's")
        pool.append(connection)

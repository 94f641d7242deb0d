"""Greenlets that come and go. Knows nothing of tracing.

`/own/N` is read, worked on and answered by one greenlet. `/left/N` is read by a greenlet that ends at once, and answered by
another. All the while others call that no request has asked for."""

import os

import gevent
from gevent import socket

NEXT = (os.environ["NEXT_HOST"], int(os.environ["NEXT_PORT"]))
REQUEST = b"GET %s HTTP/1.1\r\nHost: next\r\nConnection: close\r\n\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"


def call(path):
    connection = socket.socket()
    connection.connect(NEXT)
    connection.sendall(REQUEST % path)
    while connection.recv(65536):
        pass
    connection.close()


def answer(client):
    gevent.sleep(0.02)
    client.sendall(ANSWER)
    client.close()


def serve(client):
    words = client.recv(65536).split()
    if len(words) < 2:
        client.close()
        return
    _, page, number = words[1].split(b"/")
    if page == b"own":
        call(b"/size/" + number)
        answer(client)
    else:
        gevent.spawn(answer, client)


def stray():
    while True:
        gevent.sleep(0.002)
        gevent.spawn(call, b"/status/204")


listener = socket.socket()
listener.bind((os.environ["HOST"], int(os.environ["PORT"])))
listener.listen()
gevent.spawn(stray)
while True:
    accepted, _ = listener.accept()
    gevent.spawn(serve, accepted)

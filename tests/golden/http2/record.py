"""Writes the .calls files beside it: `pip install h2==4.4.1 hpack==4.2.0 hyperframe==6.1.0; python record.py`.

Two ends of python-hyper's h2 talk to each other without a socket; each `data_to_send` is a call of its writer. The
format: `> hex` a call of the client, `< hex` one of the server, `>gap n` bytes of it that were not captured, `<| hex` the rest of
that call, `!middle`: nothing is known of what came before; `#= stream method path` what a joined stream was.
"""

import pathlib
import struct

import h2.config
import h2.connection
import h2.settings

FOLDER = pathlib.Path(__file__).parent
REQUEST = [(":method", "GET"), (":scheme", "http"), (":authority", "shop:8000")]
AGENT = ("user-agent", "golden/1.0")


class Recording:
    """A connection, and what was sent on it."""

    def __init__(self, note, **settings):
        self.note = note
        self.lines = []
        self.client = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding=None))
        self.server = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding=None))
        self.client.initiate_connection()
        self.server.initiate_connection()
        if settings:
            self.server.update_settings(settings)
        self.flush()

    def flush(self):
        """Everything that both want to send, in turns, until they are silent."""
        while self.send(">", self.client, self.server) | self.send("<", self.server, self.client):
            pass

    def send(self, mark, sender, receiver):
        data = sender.data_to_send()
        if data:
            self.raw(mark, data)
            receiver.receive_data(data)
        return bool(data)

    def raw(self, mark, data):
        self.lines.append(f"{mark} {data.hex()}")

    def request(self, stream, path, *fields, end=True, method="GET"):
        head = [(":method", method), *REQUEST[1:], (":path", path), AGENT, *fields]
        self.client.send_headers(stream, head, end_stream=end)

    def respond(self, stream, *fields, status="200", body=b"", trailers=None):
        self.server.send_headers(stream, [(":status", status), *fields], end_stream=not body and trailers is None)
        if body:
            self.server.send_data(stream, body, end_stream=trailers is None)
        if trailers is not None:
            self.server.send_headers(stream, trailers, end_stream=True)

    def exchange(self, stream, path, *fields, body=b"ok"):
        self.request(stream, path, *fields)
        self.flush()
        self.respond(stream, ("content-type", "text/plain"), body=body)
        self.flush()

    def write(self, name):
        note = "".join(f"# {line}\n" for line in self.note.splitlines())
        (FOLDER / f"{name}.calls").write_text(note + "\n".join(self.lines) + "\n")


def get():
    r = Recording("Three requests, one after the other, on one connection.")
    for stream, path in [(1, "/"), (3, "/items?id=7"), (5, "/items?id=7")]:
        r.exchange(stream, path)
    r.client.close_connection()
    r.flush()
    r.write("get")


def post():
    r = Recording("A body in several frames, padded, and one with a priority.")
    r.request(1, "/upload", ("content-length", "3000"), end=False, method="POST")
    r.flush()
    r.client.send_data(1, b"x" * 1_000, pad_length=7)
    r.client.send_data(1, b"y" * 1_600)
    r.flush()
    r.client.send_data(1, b"z" * 400, end_stream=True, pad_length=0)
    r.respond(1, status="201", body=b"made")
    r.flush()
    r.client.prioritize(3, weight=16, depends_on=1, exclusive=False)
    r.client.send_headers(3, [*REQUEST, (":path", "/urgent"), AGENT], end_stream=True, priority_weight=255)
    r.flush()
    r.respond(3, status="204")
    r.flush()
    r.write("post")


def interleaved():
    r = Recording("Eight streams at once: requests in one call, responses in another order and mixed.")
    streams = range(1, 17, 2)
    for stream in streams:
        r.request(stream, f"/slow/{stream}")
    r.flush()
    for stream in reversed(streams):
        r.server.send_headers(stream, [(":status", "200"), ("content-type", "text/plain")])
    for piece in range(3):
        for stream in streams:
            r.server.send_data(stream, b"%d" % piece * stream, end_stream=piece == 2)
    r.flush()
    r.write("interleaved")


def continuation():
    r = Recording("Header blocks of several frames, in both directions.")
    r.request(1, "/large", ("cookie", "c" * 2_000), ("x-large", "L" * 18_000))
    r.flush()
    r.respond(1, ("x-large", "M" * 20_000), body=b"ok")
    r.flush()
    r.exchange(3, "/after")
    r.write("continuation")


def grpc():
    r = Recording("gRPC: a call that succeeds, one that fails with trailers only, a stream of messages, one cancelled.")
    message = lambda text: b"\0" + struct.pack(">I", len(text)) + text
    fields = [("content-type", "application/grpc+proto"), ("te", "trailers"), ("grpc-timeout", "5S")]
    answer = ("content-type", "application/grpc")
    r.request(1, "/shop.Cart/Add", *fields, end=False, method="POST")
    r.client.send_data(1, message(b"item"), end_stream=True)
    r.flush()
    r.respond(1, answer, body=message(b"done"), trailers=[("grpc-status", "0")])
    r.flush()
    r.request(3, "/shop.Cart/Drop", *fields, end=False, method="POST")
    r.client.send_data(3, message(b"item"), end_stream=True)
    r.flush()
    r.server.send_headers(3, [(":status", "200"), answer, ("grpc-status", "12"), ("grpc-message", "no")], end_stream=True)
    r.flush()
    r.request(5, "/shop.Cart/Watch", *fields, end=False, method="POST")
    r.flush()
    r.server.send_headers(5, [(":status", "200"), answer])
    for n in range(3):
        r.client.send_data(5, message(b"more" * n))
        r.flush()
        r.server.send_data(5, message(b"news" * n))
        r.flush()
    r.client.end_stream(5)
    r.server.send_headers(5, [("grpc-status", "14"), ("grpc-message", "gone")], end_stream=True)
    r.flush()
    r.request(7, "/shop.Cart/Watch", *fields, end=False, method="POST")
    r.flush()
    r.client.reset_stream(7, 8)
    r.flush()
    r.write("grpc")


def ends():
    r = Recording("Interim responses, trailers, resets by either side, an early answer, and a GOAWAY that refuses a stream.")
    r.request(1, "/expect", ("expect", "100-continue"), end=False, method="POST")
    r.flush()
    r.server.send_headers(1, [(":status", "100")])
    r.flush()
    r.client.send_data(1, b"body")
    r.client.send_headers(1, [("x-checksum", "abc")], end_stream=True)
    r.flush()
    r.server.send_headers(1, [(":status", "103"), ("link", "</style.css>")])
    r.respond(1, body=b"ok", trailers=[("x-took", "3")])
    r.flush()
    r.request(3, "/reset-by-server")
    r.flush()
    r.server.reset_stream(3, 2)
    r.flush()
    r.request(5, "/early", end=False, method="PUT")
    r.client.send_data(5, b"part")
    r.flush()
    r.respond(5, status="413", body=b"large")
    r.server.reset_stream(5, 0)
    r.flush()
    r.request(7, "/last")
    r.request(9, "/refused")
    client = r.client.data_to_send()
    r.raw(">", client)
    r.server.receive_data(client)
    r.respond(7, body=b"bye")
    last = r.server.data_to_send()
    r.raw("<", last)
    r.raw("<", bytes.fromhex("000008" "07" "00" "00000000" "00000007" "00000000"))
    r.write("ends")


def push():
    r = Recording("A server that pushes: nothing is made of it, but its header blocks count.")
    r.request(1, "/page")
    r.flush()
    r.server.push_stream(1, 2, [*REQUEST, (":path", "/style.css"), ("x-pushed", "yes")])
    r.respond(1, ("x-pushed", "yes"), body=b"<html>")
    r.server.send_headers(2, [(":status", "200"), ("content-type", "text/css")])
    r.server.send_data(2, b"body{}", end_stream=True)
    r.flush()
    r.exchange(3, "/next")
    r.write("push")


def tables():
    r = Recording("The size of the header table changes on the way: 4096, 0, 65536.")
    r.exchange(1, "/one", ("x-id", "1"))
    for stream, size in [(3, 0), (7, 65_536)]:
        r.server.update_settings({h2.settings.SettingCodes.HEADER_TABLE_SIZE: size})
        r.flush()
        r.exchange(stream, f"/{stream}", ("x-id", "1"))
        r.exchange(stream + 2, f"/{stream}", ("x-id", "1"))
    r.write("tables")


def unusual():
    r = Recording("Unknown frame types and flags, large frames that were agreed on, other methods, trace context.")
    r.raw(">", bytes.fromhex("000003" "be" "ff" "00000001" "616263"))
    r.server.update_settings({h2.settings.SettingCodes.MAX_FRAME_SIZE: 65_536})
    r.flush()
    trace = ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
    r.request(1, "/traced", trace, ("tracestate", "a=1"), ("tracestate", "b=2"), end=False, method="FROB")
    r.client.send_data(1, b"x" * 17_000, end_stream=True)
    r.flush()
    r.respond(1, status="404")
    r.flush()
    r.client.send_headers(3, [(":method", "CONNECT"), (":authority", "db:5432")])
    r.flush()
    r.server.send_headers(3, [(":status", "200")])
    r.flush()
    r.client.send_headers(5, [(":method", "OPTIONS"), (":scheme", "http"), (":path", "*"), ("host", "shop")], end_stream=True)
    r.flush()
    r.respond(5, status="204")
    r.flush()
    r.write("unusual")


def warm():
    """A connection with all it needs in its tables."""
    r = Recording("")
    for i in range(4):
        r.exchange(2 * i + 1, "/known", ("x-old", "1"), ("authorization", "secret"))
    return r


def middle():
    r = warm()
    r.note = """Joined after four requests: what they left in the tables is unknown, literals and what is added are exact."""
    r.lines = ["!middle"]
    r.exchange(9, "/known", ("x-old", "1"))
    r.exchange(11, "/new", ("x-old", "1"), ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"))
    r.exchange(13, "/new", ("x-old", "1"))
    r.request(15, "/new", method="DELETE")
    r.flush()
    r.respond(15, status="303")
    r.flush()
    r.write("middle")


def middle_busy():
    r = warm()
    r.note = """Joined while a response is on its way: it has no request, and its frames prove the place."""
    r.request(9, "/before")
    r.flush()
    r.server.send_headers(9, [(":status", "200"), ("content-type", "text/plain")])
    r.flush()
    r.lines = ["!middle"]
    r.server.send_data(9, b"a" * 500)
    r.flush()
    r.request(11, "/after")
    r.flush()
    r.server.send_data(9, b"b" * 500, end_stream=True)
    r.respond(11, ("content-type", "text/plain"), body=b"ok")
    r.flush()
    r.exchange(13, "/after")
    r.write("middle-busy")


def middle_long():
    """As a busy service would: few methods, many ids."""
    r = Recording("")
    path = lambda i: f"/items/{i * 7 % 40}"
    methods = ["GET", "GET", "GET", "POST", "PUT"]
    for i in range(1_100):
        if i == 1_000:
            r.lines = ["!middle"]
        method = methods[i * 3 % 5]
        r.request(2 * i + 1, path(i), ("x-request-id", f"{i * 7_919 % 104_729:08x}"), method=method)
        r.flush()
        r.respond(2 * i + 1, ("x-request-id", f"{i:08x}"), status="200" if i % 9 else "503", body=b"ok")
        r.flush()
        if i >= 1_000:
            r.lines.append(f"#= {2 * i + 1} {method} {path(i)}")
    r.note = "Joined after 1,000 requests. `#=` says what the stream before it was."
    r.write("middle-long")


def loss():
    r = Recording("Calls are lost on the way, whole and in part, with requests and responses in them.")
    r.exchange(1, "/one", ("x-id", "1"))
    r.request(3, "/answer-lost")
    r.flush()
    r.respond(3, ("content-type", "text/plain"), body=b"ok")
    lost = r.server.data_to_send()
    r.lines.append(f"<gap {len(lost)}")
    r.client.receive_data(lost)
    r.request(5, "/lost")
    lost = r.client.data_to_send()
    r.lines.append(f">gap {len(lost)}")
    r.server.receive_data(lost)
    r.respond(5, body=b"answer to what was lost")
    r.flush()
    r.exchange(7, "/one", ("x-id", "1"))
    r.exchange(9, "/nine", ("x-id", "1"))
    r.request(11, "/long")
    r.flush()
    r.respond(11, body=b"l" * 10_000)
    data = r.server.data_to_send()
    r.lines.append(f"< {data[:200].hex()}")
    r.lines.append(f"<gap {len(data) - 220}")
    r.lines.append(f"<| {data[-20:].hex()}")
    r.client.receive_data(data)
    r.flush()
    r.exchange(13, "/nine", ("x-id", "1"))
    r.write("loss")


if __name__ == "__main__":
    for scenario in (get, post, interleaved, continuation, grpc, ends, push, tables, unusual, middle, middle_busy, middle_long, loss):
        scenario()

#!/usr/bin/env python3
"""Records goldens: passes the connections of a client on to a server and writes what both said as dialogs.

    tests/golden/record.py --listen 127.0.0.1:15432 --to 127.0.0.1:5432 tests/golden/postgres/simple-query
    tests/golden/record.py --listen unix:/tmp/.s.PGSQL.15432 --to unix:/run/postgresql/.s.PGSQL.5432 --once /tmp/x

Writes PREFIX.dialog, or PREFIX-1.dialog, PREFIX-2.dialog, ... if there was more than one connection, in the order in
which they were opened, once SIGINT or SIGTERM comes. What one `recv` gave is one call: a message that arrives in two
pieces is two calls, and what two calls sent at once may be one. The format is that of agent/core/tests/ordered/dialog.rs.
"""

import argparse
import os
import re
import signal
import socket
import sys
import threading
import time

RECEIVED_MAX = 1 << 20
# Escaped characters of a line: it ends behind a line feed from here on, and there at the latest.
LINE_MIN, LINE_MAX = 60, 120
FILLER = re.compile(rb"x{200,}")
# For so long no connection may be open before `--once` takes the client for done.
DONE_SECONDS = 0.5

ESCAPES = {ord("\r"): "\\r", ord("\n"): "\\n", ord("\t"): "\\t", 0: "\\0", ord("\\"): "\\\\"}


def escape(byte):
    if byte in ESCAPES:
        return ESCAPES[byte]
    return chr(byte) if 0x20 <= byte < 0x7F else f"\\x{byte:02x}"


def lines(mark, data):
    """One call, as the lines of a dialog."""
    at = 0
    while at < len(data):
        if filler := FILLER.match(data, at):
            at = filler.end()
            yield f"{mark}fill {len(filler.group())}"
            continue
        text = ""
        while at < len(data) and len(text) < LINE_MAX and not FILLER.match(data, at):
            text += escape(data[at])
            at += 1
            if text.endswith("\\n") and len(text) >= LINE_MIN:
                break
        # A blank at the end of a line would be lost on the way through editors.
        yield f"{mark} {text[:-1]}\\x20" if text.endswith(" ") else f"{mark} {text}"


def pump(dialog, mark, source, sink):
    """Passes on what one side says, until it ends."""
    try:
        while data := source.recv(RECEIVED_MAX):
            dialog.append((mark, data))
            sink.sendall(data)
    except OSError:
        pass
    try:
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def address(text):
    if text.startswith("unix:"):
        return socket.AF_UNIX, text[len("unix:") :]
    host, _, port = text.rpartition(":")
    return socket.AF_INET6 if ":" in host else socket.AF_INET, (host.strip("[]"), int(port))


def without_delay(connection):
    if connection.family != socket.AF_UNIX:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def serve(listener, to, dialogs, pumps):
    while True:
        client, _ = listener.accept()
        family, place = to
        server = socket.socket(family)
        server.connect(place)
        without_delay(client)
        without_delay(server)
        dialogs.append(dialog := [])
        for job in (dialog, ">", client, server), (dialog, "<", server, client):
            thread = threading.Thread(target=pump, args=job, daemon=True)
            thread.start()
            pumps.append(thread)


def write(prefix, about, dialogs):
    dialogs = [list(dialog) for dialog in dialogs if dialog]
    for number, dialog in enumerate(dialogs, 1):
        path = f"{prefix}.dialog" if len(dialogs) == 1 else f"{prefix}-{number}.dialog"
        with open(path, "w", encoding="ascii") as file:
            if about:
                file.write(f"# {about}\n")
            file.write("\n".join("".join(f"{line}\n" for line in lines(*call)) for call in dialog))
        print(f"{path}: {len(dialog)} calls", file=sys.stderr)


def wait(pumps, once):
    """Until a signal ends it or, once a client came, until all of its connections are closed."""
    quiet_since = time.monotonic()
    while not once or time.monotonic() - quiet_since < DONE_SECONDS:
        time.sleep(0.05)
        if not pumps or any(thread.is_alive() for thread in pumps):
            quiet_since = time.monotonic()


def interrupted(*_):
    raise KeyboardInterrupt


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--listen", type=address, required=True, metavar="ADDR:PORT|unix:PATH", help="for the client")
    parser.add_argument("--to", type=address, required=True, metavar="ADDR:PORT|unix:PATH", help="the server")
    parser.add_argument("--once", action="store_true", help="end once a client's connections are closed")
    parser.add_argument("--about", default="", help="the first line of each dialog: what it shows, and what made it")
    parser.add_argument("prefix", help="path of the dialogs, less `.dialog`")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, interrupted)

    family, place = options.listen
    listener = socket.socket(family)
    if family == socket.AF_UNIX:
        if os.path.exists(place):
            os.unlink(place)
    else:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(place)
    listener.listen()
    print("listening", file=sys.stderr, flush=True)
    dialogs, pumps = [], []
    threading.Thread(target=serve, args=(listener, options.to, dialogs, pumps), daemon=True).start()
    try:
        wait(pumps, options.once)
    except KeyboardInterrupt:
        pass
    if family == socket.AF_UNIX:
        os.unlink(place)
    write(options.prefix, options.about, dialogs)


if __name__ == "__main__":
    main()

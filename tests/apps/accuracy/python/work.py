"""What a request asks for, and the only place that knows which call was made for it.

GET /r/<n>?mode=<mode>&calls=<count>. Each call downstream has a code of its own, drawn here; `code n` goes to the file that the
environment names, and nothing else links the two. Where HEARTBEAT is set there are also calls that no request asked for.
"""

import os
import random
import secrets
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

DOWNSTREAM = os.environ["DOWNSTREAM"]
TRUTH = os.open(os.environ["TRUTH"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
# Fewer than the calls of 64 requests: then they wait for each other's connections.
CONNECTIONS_MAX = 32
WORKERS = 16
TIMEOUT_SECONDS = 30
SLEEP_SECONDS_MAX = 0.02


@dataclass(frozen=True)
class Request:
    n: str
    mode: str
    calls: int
    # What is passed on with each call.
    headers: dict = field(default_factory=dict)

    def draw(self):
        """URL of a new call for this request."""
        code = secrets.token_hex(8)
        os.write(TRUTH, f"{code} {self.n}\n".encode())
        return f"{DOWNSTREAM}/d/{code}"


# What is called time and again for no request.
HEARTBEAT = Request("-", "sleep", 1) if "HEARTBEAT" in os.environ else None


def parse(target, request_id):
    """`target`: path and query; `request_id`: the request's X-Request-Id, if any."""
    url = urlsplit(target)
    query = parse_qs(url.query)
    headers = {"X-Request-Id": request_id} if request_id else {}
    return Request(url.path.removeprefix("/r/"), query["mode"][0], int(query["calls"][0]), headers)


def pause():
    """Seconds to sleep before a call."""
    return random.uniform(0, SLEEP_SECONDS_MAX)

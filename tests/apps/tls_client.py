"""A client of https URLs, by the library that its first argument names. Each line of its input is a URL; each line of its
output is the status and the bytes of an answer, and the local port where the library tells. Knows nothing of tracing.

  pycurl     libcurl; Debian's is linked with GnuTLS
  requests   urllib3 on the standard library's ssl
  httpx      httpcore on the standard library's ssl
  aiohttp    the standard library's ssl on asyncio: memory BIOs
"""

import json
import sys


def pycurl():
    import io
    import os

    import pycurl

    curl = pycurl.Curl()
    curl.setopt(pycurl.CAINFO, os.environ["SSL_CERT_FILE"])

    def get(url):
        body = io.BytesIO()
        curl.setopt(pycurl.URL, url)
        curl.setopt(pycurl.WRITEDATA, body)
        curl.perform()
        return curl.getinfo(pycurl.RESPONSE_CODE), len(body.getvalue()), curl.getinfo(pycurl.LOCAL_PORT)

    return get


def requests():
    import requests

    session = requests.Session()

    def get(url):
        answer = session.get(url, timeout=10)
        return answer.status_code, len(answer.content), 0

    return get


def httpx():
    import httpx

    client = httpx.Client(timeout=10)

    def get(url):
        answer = client.get(url)
        port = answer.extensions["network_stream"].get_extra_info("client_addr")[1]
        return answer.status_code, len(answer.content), port

    return get


def aiohttp():
    import asyncio

    from aiohttp import ClientSession

    loop = asyncio.new_event_loop()
    session = loop.run_until_complete(open_session(ClientSession))

    async def get(url):
        async with session.get(url) as answer:
            return answer.status, len(await answer.read()), 0

    return lambda url: loop.run_until_complete(get(url))


async def open_session(kind):
    return kind()


get = {"pycurl": pycurl, "requests": requests, "httpx": httpx, "aiohttp": aiohttp}[sys.argv[1]]()
print("ready", flush=True)
for line in sys.stdin:
    status, count, port = get(line.strip())
    print(json.dumps({"status": status, "bytes": count, "port": port}), flush=True)

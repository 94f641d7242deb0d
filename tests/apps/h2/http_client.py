"""httpx as an HTTP/2 client. Each line of its input is what to ask, as JSON: one request, or several at once; each line of
its output is the answer to one line. Knows nothing of tracing."""

import asyncio
import json
import os
import ssl
import sys

import httpx


async def ask(client, wish):
    content = b"x" * wish["body"] if wish.get("body") else None
    try:
        answer = await client.request(
            wish.get("method", "GET"), wish["url"], content=content, headers=wish.get("headers")
        )
    except httpx.RemoteProtocolError:
        return {"status": 0, "bytes": 0, "port": 0}
    port = answer.extensions["network_stream"].get_extra_info("client_addr")[1]
    return {"status": answer.status_code, "bytes": len(answer.content), "port": port}


async def main():
    trust = os.environ.get("SSL_CERT_FILE")
    context = ssl.create_default_context(cafile=trust)
    async with httpx.AsyncClient(timeout=10, http1=False, http2=True, verify=context) as client:
        print("ready", flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            wish = json.loads(line)
            if isinstance(wish, list):
                answer = await asyncio.gather(*(ask(client, one) for one in wish))
            else:
                answer = await ask(client, wish)
            print(json.dumps(answer), flush=True)


asyncio.run(main())

// Node's own HTTP/2 client. Each line of its input is what to ask, as JSON: one request, or several at once; each line of
// its output is the answer to one line. Knows nothing of tracing.
'use strict';
const http2 = require('http2');
const readline = require('readline');

const sessions = new Map();

function connection(origin) {
  if (!sessions.get(origin) || sessions.get(origin).closed) sessions.set(origin, http2.connect(origin));
  return sessions.get(origin);
}

function ask({ method = 'GET', url, body = 0, headers = {} }) {
  const { origin, pathname, search } = new URL(url);
  return new Promise((resolve) => {
    const session = connection(origin);
    const stream = session.request({ ...headers, ':method': method, ':path': pathname + search }, { endStream: !body });
    let status = 0;
    let bytes = 0;
    stream.on('response', (head) => { status = head[':status']; });
    stream.on('data', (part) => { bytes += part.length; });
    stream.on('error', () => {});
    stream.on('close', () => resolve({ status, bytes, port: session.socket?.localPort ?? 0 }));
    if (body) stream.end(Buffer.alloc(body, 'x'));
  });
}

async function main() {
  console.log('ready');
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const wish = JSON.parse(line);
    console.log(JSON.stringify(Array.isArray(wish) ? await Promise.all(wish.map(ask)) : await ask(wish)));
  }
  process.exit();
}

main();

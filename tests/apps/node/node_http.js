// Node's own HTTP server. Knows nothing of tracing.
'use strict';
const fs = require('fs');
const http = require('http');
const https = require('https');

const next = process.env.NEXT;
const client = next?.startsWith('https:') ? https : http;
const agent = new client.Agent({ keepAlive: true });
const block = Buffer.alloc(65536, 'x');

function chain(request, response) {
  if (!next) {
    response.setHeader('Content-Type', 'application/json');
    response.end(JSON.stringify(request.headers));
    return;
  }
  client.get(next, { agent }, (answer) => {
    response.writeHead(answer.statusCode, { 'Content-Type': answer.headers['content-type'] });
    answer.pipe(response);
  }).on('error', () => response.writeHead(502).end());
}

async function fetchSize(number) {
  return (await (await fetch(next + number)).arrayBuffer()).byteLength;
}

function getSize(number) {
  return new Promise((resolve, reject) => {
    client.get(next + number, { agent }, (answer) => {
      let received = 0;
      answer.on('data', (part) => { received += part.length; });
      answer.on('end', () => resolve(received));
    }).on('error', reject);
  });
}

// Calls next + '1', next + '2', … at the same time; answers with the bytes that came, one number for each.
function fan(response, count, call) {
  Promise.all(Array.from({ length: count }, (_, index) => call(index + 1)))
    .then((received) => response.end(JSON.stringify(received)), () => response.writeHead(502).end());
}

// Calls next + number.
function later(response, number) {
  getSize(number).then((received) => response.end(String(received)), () => response.writeHead(502).end());
}

function size(response, count) {
  response.setHeader('Content-Length', count);
  let left = count;
  const more = () => {
    while (left > 0) {
      const part = block.subarray(0, Math.min(left, block.length));
      left -= part.length;
      if (!response.write(part)) return response.once('drain', more);
    }
    response.end();
  };
  more();
}

function upload(request, response) {
  let received = 0;
  request.on('data', (part) => { received += part.length; });
  request.on('end', () => response.end(String(received)));
}

function serve(request, response) {
  const url = new URL(request.url, 'http://localhost');
  const [, page, argument] = url.pathname.split('/');
  switch (page) {
    case 'hello': return response.end('hello');
    case 'chain': return chain(request, response);
    case 'fan': return fan(response, Number(argument), getSize);
    case 'fetch': return fan(response, Number(argument), fetchSize);
    case 'later': return setImmediate(later, response, argument);
    case 'size': return size(response, Number(argument));
    case 'upload': return upload(request, response);
    case 'status': return response.writeHead(Number(argument)).end();
    case 'slow': return setTimeout(() => response.end('slow'), Number(url.searchParams.get('ms')));
    default: return response.writeHead(404).end();
  }
}

const { TLS_CERTIFICATE, TLS_KEY } = process.env;
const server = TLS_CERTIFICATE
  ? https.createServer({ cert: fs.readFileSync(TLS_CERTIFICATE), key: fs.readFileSync(TLS_KEY) }, serve)
  : http.createServer(serve);
server.keepAliveTimeout = 60000;
// A port, or the path of a unix socket.
server.listen(process.env.PORT, process.env.HOST);

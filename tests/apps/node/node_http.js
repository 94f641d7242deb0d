// Node's own HTTP server. Knows nothing of tracing.
'use strict';
const http = require('http');

const next = process.env.NEXT;
const agent = new http.Agent({ keepAlive: true });
const block = Buffer.alloc(65536, 'x');

function chain(request, response) {
  if (!next) {
    response.setHeader('Content-Type', 'application/json');
    response.end(JSON.stringify(request.headers));
    return;
  }
  http.get(next, { agent }, (answer) => {
    response.writeHead(answer.statusCode, { 'Content-Type': answer.headers['content-type'] });
    answer.pipe(response);
  }).on('error', () => response.writeHead(502).end());
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

const server = http.createServer((request, response) => {
  const url = new URL(request.url, 'http://localhost');
  const [, page, argument] = url.pathname.split('/');
  switch (page) {
    case 'hello': return response.end('hello');
    case 'chain': return chain(request, response);
    case 'size': return size(response, Number(argument));
    case 'upload': return upload(request, response);
    case 'status': return response.writeHead(Number(argument)).end();
    case 'slow': return setTimeout(() => response.end('slow'), Number(url.searchParams.get('ms')));
    default: return response.writeHead(404).end();
  }
});
server.keepAliveTimeout = 60000;
// A port, or the path of a unix socket.
server.listen(process.env.PORT, process.env.HOST);

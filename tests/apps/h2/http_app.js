// Node's own HTTP/2, server and client. Knows nothing of tracing.
'use strict';
const fs = require('fs');
const http2 = require('http2');

const next = process.env.NEXT && new URL(process.env.NEXT);
const block = Buffer.alloc(65536, 'x');
let session;

// The one connection to the next service.
function connection() {
  if (!session || session.closed) session = http2.connect(next.origin);
  return session;
}

function chain(request, response) {
  if (!next) {
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify(request.headers));
    return;
  }
  const call = connection().request({ ':path': next.pathname });
  call.on('response', (headers) => {
    response.writeHead(headers[':status'], { 'content-type': headers['content-type'] });
    call.pipe(response.stream);
  });
  call.on('error', () => response.writeHead(502).end());
}

function size(response, count) {
  response.setHeader('content-length', count);
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
    case 'size': return size(response, Number(argument));
    case 'upload': return upload(request, response);
    case 'status': return response.writeHead(Number(argument)).end();
    case 'slow': return setTimeout(() => response.end('slow'), Number(url.searchParams.get('ms')));
    case 'reset': return response.stream.close(http2.constants.NGHTTP2_INTERNAL_ERROR);
    default: return response.writeHead(404).end();
  }
}

const { TLS_CERTIFICATE, TLS_KEY } = process.env;
const server = TLS_CERTIFICATE
  ? http2.createSecureServer({ cert: fs.readFileSync(TLS_CERTIFICATE), key: fs.readFileSync(TLS_KEY) }, serve)
  : http2.createServer(serve);
server.listen(process.env.PORT, process.env.HOST);

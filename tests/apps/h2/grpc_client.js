// The gRPC client of grpc_client.py by @grpc/grpc-js. Knows nothing of tracing.
'use strict';
const grpc = require('@grpc/grpc-js');
const readline = require('readline');

const bytes = (value) => value;
const clients = new Map();

// One channel for each address, security and compression.
function client({ address, gzip = false, tls = false }) {
  const key = `${address} ${tls} ${gzip}`;
  const credentials = tls ? grpc.credentials.createSsl() : grpc.credentials.createInsecure();
  const options = gzip ? { 'grpc.default_compression_algorithm': grpc.compressionAlgorithms.gzip } : {};
  if (!clients.has(key)) clients.set(key, new grpc.Client(address, credentials, options));
  return clients.get(key);
}

function metadata(entries) {
  const result = new grpc.Metadata();
  for (const [name, value] of Object.entries(entries)) result.set(name, value);
  return result;
}

function run(wish) {
  const path = `/autospan.test.Echo/${wish.method}`;
  const requests = wish.messages.map((message) => Buffer.from(message));
  const more = [metadata(wish.metadata ?? {}), { deadline: Date.now() + (wish.timeout ?? 10) * 1000 }];
  const channel = client(wish);
  return new Promise((resolve) => {
    const messages = [];
    const end = (error) => resolve({ status: error ? grpc.status[error.code] : 'OK', messages });
    const single = (error, message) => {
      if (message) messages.push(message.toString());
      end(error);
    };
    let call;
    if (wish.kind === 'unary') call = channel.makeUnaryRequest(path, bytes, bytes, requests[0], ...more, single);
    if (wish.kind === 'client') call = channel.makeClientStreamRequest(path, bytes, bytes, ...more, single);
    if (wish.kind === 'server') call = channel.makeServerStreamRequest(path, bytes, bytes, requests[0], ...more);
    if (wish.kind === 'bidi') call = channel.makeBidiStreamRequest(path, bytes, bytes, ...more);
    if (wish.kind === 'server' || wish.kind === 'bidi') {
      call.on('data', (message) => {
        messages.push(message.toString());
        if (wish.cancel) call.cancel();
      });
      call.on('error', end);
      call.on('end', () => end());
    }
    if (wish.kind === 'client' || wish.kind === 'bidi') {
      for (const request of requests) call.write(request);
      call.end();
    }
  });
}

async function main() {
  console.log('ready');
  for await (const line of readline.createInterface({ input: process.stdin })) {
    console.log(JSON.stringify(await run(JSON.parse(line))));
  }
  process.exit();
}

main();

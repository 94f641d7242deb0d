// Node: serves HTTP/1, or HTTP/2 where HTTP2 is set; for each request it makes one on the only HTTP/2 session to NEXT, with a
// number that it draws, and answers with that number and what came of it. With GRPC, that one is made by @grpc/grpc-js.
// Knows nothing of tracing.
'use strict';

const http = require('http');
const http2 = require('http2');
const { setTimeout: wait } = require('timers/promises');

const { HOST, PORT, NEXT, HTTP2, GRPC } = process.env;
/** Of a gRPC message that is not compressed: a flag and its length. */
const PREFIX_BYTES = 5;

function session() {
  const session = http2.connect(NEXT);
  return (path) =>
    new Promise((resolve, reject) => {
      let body = '';
      const request = session.request({ ':path': path });
      request.setEncoding('utf8').on('data', (chunk) => (body += chunk));
      request.on('end', () => resolve(body)).on('error', reject);
    });
}

function channel() {
  const grpc = require('@grpc/grpc-js');
  const client = new grpc.Client(new URL(NEXT).host, grpc.credentials.createInsecure());
  const same = (bytes) => bytes;
  return (path) =>
    new Promise((resolve, reject) => {
      const done = (error, answer) => (error ? reject(error) : resolve(answer.toString()));
      client.makeUnaryRequest(path, same, same, Buffer.alloc(0), done);
    });
}

const call = NEXT && (GRPC ? channel() : session());

function answer(request, response, body) {
  if (request.headers['content-type'] !== 'application/grpc') {
    return response.end(body);
  }
  const prefix = Buffer.alloc(PREFIX_BYTES);
  prefix.writeUInt32BE(Buffer.byteLength(body), 1);
  response.setHeader('content-type', 'application/grpc');
  response.addTrailers({ 'grpc-status': '0' });
  response.end(Buffer.concat([prefix, Buffer.from(body)]));
}

async function work(request, response) {
  request.resume();
  if (!call) {
    await wait(4 * Math.random());
    return answer(request, response, '');
  }
  const number = Math.floor(2 ** 52 * Math.random());
  answer(request, response, `${number} ${await call(`/item/${number}`)}`);
}

(HTTP2 ? http2 : http).createServer(work).listen(Number(PORT), HOST);

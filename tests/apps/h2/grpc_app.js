// The gRPC service of grpc_app.py by @grpc/grpc-js. Knows nothing of tracing.
'use strict';
const fs = require('fs');
const grpc = require('@grpc/grpc-js');

const { HOST, PORT, NEXT, TLS_CERTIFICATE, TLS_KEY } = process.env;
const bytes = (value) => value;
const client = NEXT && new grpc.Client(NEXT, grpc.credentials.createInsecure());
const failure = (request) => ({ code: Number(request), details: 'as asked' });

const echo = {
  Unary: (call, done) => done(null, call.request),
  ServerStream: (call) => {
    for (let number = 0; number < Number(call.request); number += 1) call.write(Buffer.from(String(number)));
    call.end();
  },
  ClientStream: (call, done) => {
    let count = 0;
    call.on('data', () => { count += 1; });
    call.on('end', () => done(null, Buffer.from(String(count))));
  },
  Bidi: (call) => {
    call.on('data', (message) => call.write(message));
    call.on('end', () => call.end());
  },
  Fail: (call, done) => done(failure(call.request)),
  FailLate: (call) => {
    call.write(call.request);
    call.emit('error', failure(call.request));
  },
  Slow: (call, done) => setTimeout(() => done(null, call.request), Number(call.request)),
  Chain: (call, done) => {
    if (!client) return done(null, call.request);
    client.makeUnaryRequest('/autospan.test.Echo/Chain', bytes, bytes, call.request, done);
  },
};

const streams = { ServerStream: [false, true], ClientStream: [true, false], Bidi: [true, true], FailLate: [false, true] };
const service = Object.fromEntries(Object.keys(echo).map((name) => {
  const [requestStream, responseStream] = streams[name] ?? [false, false];
  const serialize = { requestSerialize: bytes, requestDeserialize: bytes, responseSerialize: bytes, responseDeserialize: bytes };
  return [name, { path: `/autospan.test.Echo/${name}`, requestStream, responseStream, ...serialize }];
}));

const credentials = TLS_CERTIFICATE
  ? grpc.ServerCredentials.createSsl(null, [{ cert_chain: fs.readFileSync(TLS_CERTIFICATE), private_key: fs.readFileSync(TLS_KEY) }])
  : grpc.ServerCredentials.createInsecure();
const server = new grpc.Server();
server.addService(service, echo);
server.bindAsync(`${HOST}:${PORT}`, credentials, (error) => {
  if (error) throw error;
});

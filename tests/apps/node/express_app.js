// An Express service. Knows nothing of tracing.
'use strict';
const express = require('express');
const http = require('http');

const next = process.env.NEXT;
const agent = new http.Agent({ keepAlive: true });
const app = express();

app.get('/hello', (request, response) => response.type('text').send('hello'));

app.get('/chain', (request, response, failed) => {
  if (!next) return response.json(request.headers);
  http.get(next, { agent }, (answer) => {
    response.status(answer.statusCode).type(answer.headers['content-type']);
    answer.pipe(response);
  }).on('error', failed);
});

app.get('/size/:count', (request, response) => response.type('text').send('x'.repeat(Number(request.params.count))));

app.post('/upload', (request, response) => {
  let received = 0;
  request.on('data', (part) => { received += part.length; });
  request.on('end', () => response.type('text').send(String(received)));
});

app.get('/status/:code', (request, response) => response.status(Number(request.params.code)).end());

app.get('/slow', (request, response) => setTimeout(() => response.type('text').send('slow'), Number(request.query.ms)));

const server = app.listen(process.env.PORT, process.env.HOST);
server.keepAliveTimeout = 60000;

// Node's own HTTP server.
'use strict';
const http = require('http');
const { run } = require('./work.js');

const server = http.createServer((request, response) => {
  run(request).then(() => response.end('ok'), (error) => response.writeHead(500).end(String(error)));
});
server.keepAliveTimeout = 60000;
server.listen(process.env.PORT, process.env.HOST);

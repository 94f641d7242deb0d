'use strict';
const { run } = require('./work.js');

const app = require('fastify')({ keepAliveTimeout: 60000 });
app.get('/r/:n', async (request) => {
  await run(request.raw);
  return 'ok';
});
app.listen({ port: process.env.PORT, host: process.env.HOST });

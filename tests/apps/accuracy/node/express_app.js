'use strict';
const express = require('express');
const { run } = require('./work.js');

const app = express();
app.get('/r/:n', async (request, response) => {
  await run(request);
  response.send('ok');
});
app.listen(process.env.PORT, process.env.HOST).keepAliveTimeout = 60000;

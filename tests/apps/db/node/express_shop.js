// A shop by Express with PostgreSQL and Redis behind. Knows nothing of tracing.
'use strict';

const express = require('express');
const { Redis } = require('ioredis');
const pg = require('pg');
const places = require('./places');

const app = express();
const database = new pg.Pool(places.postgres());
// Its connection is made when it is first asked for.
const cache = new Redis({ ...places.ioredis(), lazyConnect: true });

/** The name of the customer, who gets one more order; from the cache where it is there. */
app.get('/order/:order', async (request, response) => {
  const { order } = request.params;
  const key = `r${order}:name`;
  const cached = await cache.get(key);
  if (cached) return response.json({ name: cached, cached: true });
  const customer = (Number(order) % 2) + 1;
  const found = await database.query(`SELECT name AS r${order} FROM customers WHERE id = $1`, [customer]);
  const name = found.rows[0][`r${order}`];
  const insert = `INSERT INTO orders (customer_id, item) VALUES ($1, $2) RETURNING id AS r${order}`;
  await database.query(insert, [customer, 'tea']);
  await cache.set(key, name, 'EX', 60);
  response.json({ name, cached: false });
});

const server = app.listen(process.env.PORT, process.env.HOST);
server.keepAliveTimeout = 60000;

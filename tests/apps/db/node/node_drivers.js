// A service of Node's on databases, by each driver that DRIVERS names. Knows nothing of tracing.
//
// /DRIVER/N makes the calls of `sql` or `redis` below one after the other, with N in the text of each, and answers with what came
// of them.
'use strict';

const http = require('http');
const { Redis } = require('ioredis');
const mysql = require('mysql2/promise');
const pg = require('pg');
const { createClient } = require('redis');
const places = require('./places');

/** The same for all requests: each connection prepares it once where the driver keeps what it has prepared. */
const PREPARED = 'SELECT count(*) FROM customers WHERE name <> ';

/**
 * A query, one with a parameter twice, an insertion and one that fails, by `query(text, parameters)`, which gives rows.
 * @param keeps Does it keep what it has prepared? Then it executes that as well.
 */
async function sql(number, query, placeholder, keeps) {
  const own = `r${number}`;
  await query(`SELECT 1 AS ${own}`);
  const names = [];
  for (const id of [1, 2]) {
    const [row] = await query(`SELECT name AS ${own} FROM customers WHERE id = ${placeholder(1)}`, [id]);
    names.push(row[own]);
  }
  if (keeps) await query(PREPARED + placeholder(1), ['Eve']);
  const values = `(${placeholder(1)}, ${placeholder(2)})`;
  await query(`INSERT INTO orders (customer_id, item) VALUES ${values} RETURNING id AS ${own}`, [1, 'tea']);
  const failing = query(`INSERT INTO customers (id, name) VALUES (1, 'Eve') RETURNING id AS ${own}`);
  return [...names, await failing.catch((error) => error.errno ?? error.code)].join(' ');
}

const postgres = (number, query, keeps) => sql(number, query, (position) => `$${position}`, keeps);
const mariadb = (number, query, keeps) => sql(number, query, () => '?', keeps);

/** SET, GET, a pipeline of three, MULTI with two, and LPUSH to what is no list. */
async function redis(number, { client, push, pipeline, transaction }) {
  const [a, b, n, list] = ['a', 'b', 'n', 'l'].map((name) => `r${number}:${name}`);
  await client.set(a, 'tea');
  const value = await client.get(a);
  await pipeline((commands) => push(commands.incr(n).expire(n, 60), list, 'one', 'two'));
  const [, count] = await transaction((commands) => commands.set(b, 'milk').incr(n));
  const failing = push(client, a, 'sugar');
  return [value, count, await failing.catch((error) => error.message.split(' ')[0])].join(' ');
}

async function connected(client) {
  // The next call reports what has become of the connection.
  client.on('error', () => {});
  await client.connect();
  return client;
}

/** Opens as many connections as a pool may have. */
async function fill(connect) {
  const connections = await Promise.all(Array.from({ length: places.connections }, connect));
  connections.forEach((connection) => connection.release());
}

async function pgPool() {
  const pool = new pg.Pool(places.postgres());
  await fill(() => pool.connect());
  return pool;
}

async function mysqlPool() {
  const pool = mysql.createPool(places.mysql());
  await fill(() => pool.getConnection());
  return pool;
}

async function pgClient() {
  const client = await connected(new pg.Client(places.postgres()));
  return async (text, values) => {
    // What has parameters is prepared under a name.
    const name = values && `${text.match(/r\d+|count/)} ${text.slice(0, 6)}`;
    return (await client.query({ name, text, values })).rows;
  };
}

async function ioredis() {
  const client = await connected(new Redis({ ...places.ioredis(), lazyConnect: true }));
  return {
    client,
    push: (commands, ...list) => commands.lpush(...list),
    pipeline: (fill) => fill(client.pipeline()).exec(),
    transaction: async (fill) => (await fill(client.multi()).exec()).map(([, value]) => value),
  };
}

async function nodeRedis() {
  const client = await connected(createClient(places.nodeRedis()));
  return {
    client,
    push: (commands, list, ...values) => commands.lPush(list, values),
    pipeline: (fill) => fill(client.multi()).execAsPipeline(),
    transaction: (fill) => fill(client.multi()).exec(),
  };
}

/** By name: opens what all requests share, and gives what serves one. */
const DRIVERS = {
  pg: async () => {
    const pool = await pgPool();
    return (number) => postgres(number, async (text, values) => (await pool.query(text, values)).rows);
  },
  /** One connection. */
  'pg-client': async () => {
    const query = await pgClient();
    return (number) => postgres(number, query, true);
  },
  mysql2: async () => {
    const pool = await mysqlPool();
    return (number) => mariadb(number, async (text, values) => (await pool.query(text, values))[0]);
  },
  /** Prepared on the server. */
  'mysql2-execute': async () => {
    const pool = await mysqlPool();
    return (number) => mariadb(number, async (text, values) => (await pool.execute(text, values))[0], true);
  },
  ioredis: async () => {
    const client = await ioredis();
    return (number) => redis(number, client);
  },
  'node-redis': async () => {
    const client = await nodeRedis();
    return (number) => redis(number, client);
  },
  /** One connection to each of two servers, asked by turns. */
  'pg-client-ioredis': async () => {
    const [query, { client }] = await Promise.all([pgClient(), ioredis()]);
    return async (number) => {
      const own = `r${number}`;
      for (const id of [1, 2]) {
        const [row] = await query(`SELECT name AS ${own} FROM customers WHERE id = ${id}`);
        await client.set(`${own}:${id}`, row[own]);
      }
      return (await client.mget(`${own}:1`, `${own}:2`)).join(' ');
    };
  },
};

async function main() {
  const drivers = {};
  for (const name of process.env.DRIVERS.split(',')) {
    drivers[name] = await DRIVERS[name]();
  }
  const serve = async (request, response) => {
    const [, driver, number] = request.url.split('/');
    try {
      response.end(await drivers[driver](number));
    } catch (error) {
      console.error(request.url, error);
      response.writeHead(502).end();
    }
  };
  const server = http.createServer(serve);
  server.keepAliveTimeout = 60000;
  server.listen(process.env.PORT, process.env.HOST);
}

main();

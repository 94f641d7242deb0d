// A service of Node's whose work with databases goes on behind its responses, or belongs to no request. Knows nothing of tracing.
//
// /DRIVER/WAY/TABLE/N has some calls made for request N as WAYS below says: those that it waits for are marked `own_N_1`, `own_N_2`,
// those that nobody waits for `behind_N_1` and so on, and ask TABLE. Where BEAT is set, a timer asks every so many ms: `beat_1` and so on.
'use strict';

const http = require('http');
const { Redis } = require('ioredis');
const mysql = require('mysql2/promise');
const pg = require('pg');
const { createClient } = require('redis');
const places = require('./places');

const OWN = 'customers';

async function opened(client) {
  client.on('error', () => {});
  await client.connect();
  return client;
}

/** What asks `sleeps` (an expression that takes 10 ms), and what fails. */
const sql = (query, sleeps) => ({
  ask: (table, mark) => query(`SELECT count(*) AS ${mark} FROM ${table} WHERE id = 1 AND ${sleeps}`),
  fail: (table, mark) => query(`SELECT nothing AS ${mark} FROM ${table}`),
});

const postgres = (client) => sql((text) => client.query(text), 'pg_sleep(0.01) IS NOT NULL');
const mariadb = (client) => sql((text) => client.query(text), 'sleep(0.01) = 0');

async function pgPool(max) {
  const pool = new pg.Pool({ ...places.postgres(), max });
  const clients = await Promise.all(Array.from({ length: max }, () => pool.connect()));
  clients.forEach((client) => client.release());
  return pool;
}

/** By name: opens what all share, and gives `ask` and `fail`. */
const DRIVERS = {
  'pg-client': async () => postgres(await opened(new pg.Client(places.postgres()))),
  /** One that has a queue of its own, whatever a pool beside it has to spare. */
  'pg-client-pool': async () => {
    await pgPool(4);
    return DRIVERS['pg-client']();
  },
  pg: async () => postgres(await pgPool(2)),
  /** By connections that are asked for and given back by hand. */
  'pg-connect': async () => {
    const pool = await pgPool(2);
    return postgres({
      async query(text) {
        const client = await pool.connect();
        try {
          return await client.query(text);
        } finally {
          client.release();
        }
      },
    });
  },
  mysql2: async () => mariadb(await mysql.createPool({ ...places.mysql(), connectionLimit: 2 })),
  'mysql2-connection': async () => mariadb(await mysql.createConnection(places.mysql())),
  ioredis: async () => {
    const client = await opened(new Redis({ ...places.ioredis(), lazyConnect: true }));
    return {
      ask: (table, mark) => client.get(`${table}:${mark}`),
      fail: (table, mark) => client.incrby(`${table}:${mark}`, 'many'),
    };
  },
  'node-redis': async () => {
    const client = await opened(createClient(places.nodeRedis()));
    return {
      ask: (table, mark) => client.get(`${table}:${mark}`),
      fail: (table, mark) => client.sendCommand(['INCRBY', `${table}:${mark}`, 'many']),
    };
  },
};

/** How a request goes: `own` and `behind` ask, `answer` responds. */
const WAYS = {
  /** Two at once, one of which may have to wait for a connection, and then another. */
  async together({ own, answer }) {
    await Promise.all([own(1), own(2)]);
    await own(3);
    answer();
  },
  /** Nothing goes on behind it. */
  async pair({ own, answer }) {
    await own(1);
    await own(2);
    answer();
  },
  async before({ own, behind, answer }) {
    await own(1);
    behind(1).then(() => behind(2));
    answer();
  },
  async after({ own, behind, answer }) {
    await own(1);
    answer();
    await behind(1);
    await behind(2);
  },
  /** Asked by timers, some of which go off while another request waits. */
  async timer({ own, behind, answer, number }) {
    await own(1);
    setTimeout(() => behind(1), 1 + (number % 20));
    setTimeout(() => behind(2), 1 + ((7 * number) % 20));
    answer();
  },
  /** All at once: where a client has a queue, the next request's calls stand behind them. */
  async queue({ own, behind, answer }) {
    await own(1);
    [1, 2, 3].forEach(behind);
    answer();
  },
  async continuation({ own, behind, answer }) {
    const first = own(1);
    first.then(() => behind(1)).then(() => behind(2));
    await first;
    await own(2);
    answer();
  },
  async failure({ own, failing, behind, answer }) {
    await own(1);
    await failing(2);
    answer();
    await behind(1);
  },
  /** A timer that goes off while the next request waits for its first call, if that comes at once. */
  async late({ own, behind, answer }) {
    setTimeout(() => behind(1), 15);
    await own(1);
    answer();
  },
  async 'late-pair'({ own, behind, answer }) {
    setTimeout(() => behind(1), 26);
    await own(1);
    await own(2);
    answer();
  },
};

function beat(driver, every) {
  let count = 0;
  setInterval(() => driver.ask('orders', `beat_${++count}`), every);
}

async function main() {
  const { BEAT, DRIVER, HOST, PORT } = process.env;
  const driver = await DRIVERS[DRIVER]();
  const serve = async (request, response) => {
    const [, , way, table, number] = request.url.split('/');
    await WAYS[way]({
      number: Number(number),
      own: (n) => driver.ask(OWN, `own_${number}_${n}`),
      failing: (n) => driver.fail(OWN, `own_${number}_${n}`).catch(() => {}),
      behind: (n) => driver.ask(table, `behind_${number}_${n}`),
      answer: () => response.end('done'),
    });
  };
  const server = http.createServer(serve);
  server.keepAliveTimeout = 60000;
  server.listen(PORT, HOST);
  if (BEAT) beat(driver, Number(BEAT));
}

main();

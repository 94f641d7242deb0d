// Where the servers are, as each driver wants to be told.
'use strict';

const fs = require('fs');

const { env } = process;
/** Of a pool. */
const connections = Number(env.POOL ?? 16);
exports.connections = connections;

const authority = (file) => file && { ca: fs.readFileSync(file) };

/** The driver reads variables of its own. Idle connections stay. */
exports.postgres = () => ({ max: connections, idleTimeoutMillis: 0, ssl: authority(env.PGSSLROOTCERT) });

exports.mysql = () => ({
  ...(env.MYSQL_SOCKET ? { socketPath: env.MYSQL_SOCKET } : { host: env.MYSQL_HOST, port: Number(env.MYSQL_PORT) }),
  user: env.MYSQL_USER,
  password: env.MYSQL_PASSWORD,
  database: env.MYSQL_DATABASE,
  ssl: authority(env.MYSQL_CA),
  connectionLimit: connections,
});

const redis = env.REDIS_SOCKET ? { path: env.REDIS_SOCKET } : { host: env.REDIS_HOST, port: Number(env.REDIS_PORT) };
const session = { password: env.REDIS_PASSWORD, database: Number(env.REDIS_DB) };

exports.ioredis = () => ({ ...redis, ...session, db: session.database, tls: authority(env.REDIS_CA) });

exports.nodeRedis = () => ({ ...session, socket: { ...redis, ...(env.REDIS_CA && { tls: true, ...authority(env.REDIS_CA) }) } });

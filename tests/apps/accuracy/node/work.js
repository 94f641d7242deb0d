// What a request asks for, and the only place that knows which call was made for it.
//
// GET /r/<n>?mode=<mode>&calls=<count>. Each call downstream has a code of its own, drawn here; `code n` goes to the file
// that the environment names, and nothing else links the two. Where HEARTBEAT is set there are also calls that no request asked
// for.
'use strict';
const crypto = require('crypto');
const fs = require('fs');
const http = require('http');
const https = require('https');
const timers = require('timers/promises');

const truth = fs.openSync(process.env.TRUTH, 'a');
// Fewer than the calls of 64 requests: then they wait for each other's connections.
const CONNECTIONS_MAX = 32;
const SLEEP_MS_MAX = 20;

function draw(n) {
  const code = crypto.randomBytes(8).toString('hex');
  fs.writeSync(truth, `${code} ${n}\n`);
  return `${process.env.DOWNSTREAM}/d/${code}`;
}

// What passes on the request's id, if it has one.
function headers(request) {
  const id = request?.headers['x-request-id'];
  return id ? { 'X-Request-Id': id } : {};
}

const CLIENTS = {
  agent() {
    const scheme = process.env.DOWNSTREAM.startsWith('https:') ? https : http;
    const agent = new scheme.Agent({ keepAlive: true, maxSockets: CONNECTIONS_MAX });
    return (url, headers) => new Promise((resolve, reject) => {
      const call = scheme.get(url, { agent, headers }, (answer) => answer.resume().on('end', resolve));
      call.on('error', reject);
    });
  },
  fetch() {
    return async (url, headers) => { await (await fetch(url, { headers })).text(); };
  },
  undici() {
    const undici = require('undici');
    const dispatcher = new undici.Agent({ connections: CONNECTIONS_MAX });
    return async (url, headers) => { await (await undici.request(url, { dispatcher, headers })).body.text(); };
  },
};

const get = CLIENTS[process.env.CLIENT]();

async function call(request, n, mode) {
  if (mode === 'sleep' || mode === 'after') await timers.setTimeout(Math.random() * SLEEP_MS_MAX);
  if (mode === 'file') await fs.promises.readFile(__filename);
  await get(draw(n), headers(request));
}

// `request`: an http.IncomingMessage.
async function run(request) {
  const url = new URL(request.url, 'http://localhost');
  const n = url.pathname.slice('/r/'.length);
  const mode = url.searchParams.get('mode');
  const calls = Number(url.searchParams.get('calls'));
  if (mode === 'concurrent' || mode === 'after') {
    const all = Promise.all(Array.from({ length: calls }, () => call(request, n, mode)));
    if (mode === 'concurrent') await all;
    return;
  }
  for (let made = 0; made < calls; made += 1) await call(request, n, mode);
}

async function beat() {
  for (;;) await call(undefined, '-', 'sleep');
}

if (process.env.HEARTBEAT) beat();

module.exports = { run };

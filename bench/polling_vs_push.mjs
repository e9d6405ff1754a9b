#!/usr/bin/env node
// The same small app, by polling and by Starling, side by side: an order counter that changes now and then, watched by
// as many users each way. Prints how many HTTP requests each took and how late its users saw each change.
// usage: polling_vs_push.mjs [BINARY] [--users N] [--poll-ms N] [--change-ms N] [--seconds N] [--client FILE]
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { dirname, join, resolve } from 'node:path';
import { pathToFileURL, fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { start_gateway } from '../tests/examples/gateway.mjs';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const { values, positionals } = parseArgs({ allowPositionals: true, options: {
    users: { type: 'string', default: '200' },
    'poll-ms': { type: 'string', default: '5000' },
    'change-ms': { type: 'string', default: '6000' },
    seconds: { type: 'string', default: '240' },
    client: { type: 'string', default: join(root, 'clients/typescript/dist/index.js') },
} });
const [users, pollMs, changeMs, seconds] = ['users', 'poll-ms', 'change-ms', 'seconds'].map((name) => Number(values[name]));
const { createClient } = await import(pathToFileURL(resolve(values.client)));
const WebSocket = createRequire(join(root, 'tests/protocol/run.mjs'))('ws');
const gateway = await start_gateway(resolve(positionals[0] ?? join(root, 'build/release/starling')), ['--dev']);
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

// The app: one number. `changes[n]` is when it became n.
const changes = [performance.now()];
const requests = { polling: 0, push: 0 };
const delays = { polling: [], push: [] };
const backend = createServer((_, response) => {
    requests.polling += 1;
    response.setHeader('Content-Type', 'application/json');
    response.end(JSON.stringify({ orders: changes.length - 1 }));
});
await new Promise((done) => backend.listen(0, '127.0.0.1', done));
const address = `http://127.0.0.1:${backend.address().port}/orders`;

// What a user sees of the number: each change once, with its delay.
function viewer(way) {
    let seen = 0;
    return (orders) => {
        for (; seen < orders; seen += 1) { delays[way].push(performance.now() - changes[seen + 1]); }
    };
}

let running = true;
async function poll(phase) {
    const see = viewer('polling');
    await sleep(phase);
    while (running) {
        see((await (await fetch(address)).json()).orders);
        await sleep(pollMs);
    }
}

// One request opens the socket; the first value and all that follow come over it.
function push(name) {
    const see = viewer('push');
    const client = createClient({ url: gateway.url, user: name, WebSocket: class extends WebSocket {
        constructor(...words) { super(...words); requests.push += 1; }
    } });
    const channel = client.channel('shop:orders');
    channel.subscribe(({ data }) => see(data.orders));
    return { client, ready: channel.ready() };
}

const clients = Array.from({ length: users }, (_, index) => push(`user-${index}`));
await Promise.all(clients.map(({ ready }) => ready));
const polls = Array.from({ length: users }, (_, index) => poll(index * pollMs / users));

const end = performance.now() + seconds * 1000;
while (performance.now() + changeMs < end) {
    await sleep(changeMs);
    changes.push(performance.now());
    requests.push += 1;
    const answer = await fetch(`${gateway.url}/v1/channels/shop:orders/messages`, {
        method: 'POST', headers: { Authorization: 'Bearer dev', 'Content-Type': 'application/json' },
        body: JSON.stringify({ data: { orders: changes.length - 1 } }),
    });
    if (!answer.ok) { throw new Error(await answer.text()); }
}
await sleep(Math.max(0, end - performance.now()));
running = false;
await Promise.all(polls);
clients.forEach(({ client }) => client.close());
backend.close();
gateway.stop();

const round = (ms) => Math.round(ms * 10) / 10;
function figures(way) {
    const sorted = delays[way].sort((a, b) => a - b);
    const at = (part) => round(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))]);
    return { requests: requests[way], seen: sorted.length, medianMs: at(0.5), p99Ms: at(0.99) };
}
const result = { users, pollMs, changeMs, seconds, changes: changes.length - 1, polling: figures('polling'), push: figures('push') };
result.fewerRequestsPercent = round(100 * (1 - result.push.requests / result.polling.requests));
console.log(JSON.stringify(result, null, 2));
process.exit(0);

// First figures of one node: 5,000 clients connect, a fifth of them in each of five channels; memory of
// an idle connection, CPU of a fan-out to 1,000, then SIGTERM and the pace at which they are let go.
// usage: node bench/first_figures.mjs build/release/starling
// The clients share the machine with the gateway, so CPU seconds count, not deliveries a second.
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

const WebSocket = createRequire(new URL('../tests/package.json', import.meta.url))('ws');
const clients = 5000;
const channels = 5;
const messages = 200;
const flags = ['--server.listen=127.0.0.1:0', '--server.admin=127.0.0.1:0', '--server.shards=2',
    '--server.drain.delay_ms=1000', '--server.drain.window_ms=10000', '--presence.linger_ms=1000'];
const gateway = spawn(process.argv[2], ['serve', '--dev', ...flags], { stdio: ['ignore', 'pipe', 'ignore'] });
const ended = new Promise((resolve) => gateway.on('exit', (code) => resolve({ code, at: Date.now() })));
const port = await new Promise((resolve) => gateway.stdout.on('data', (chunk) => {
    const found = /public http:\/\/127\.0\.0\.1:(\d+)/.exec(chunk);
    if (found) { resolve(Number(found[1])); }
}));

const pss = () => 1024 * Number(/Pss:\s+(\d+)/.exec(readFileSync(`/proc/${gateway.pid}/smaps_rollup`, 'utf8'))[1]);
const cpuSeconds = () => {
    const fields = readFileSync(`/proc/${gateway.pid}/stat`, 'utf8').split(') ')[1].split(' ');
    return (Number(fields[11]) + Number(fields[12])) / 100;
};

const delays = [];
const closes = [];
let received = 0;
let allReceived = () => {};
function open(index) {
    return new Promise((resolve, reject) => {
        const socket = new WebSocket(`ws://127.0.0.1:${port}/v1/ws`, { perMessageDeflate: false });
        socket.on('error', reject);
        socket.on('open', () => {
            socket.send(JSON.stringify({ type: 'connect', user: `user-${index}` }));
            socket.send(JSON.stringify({ type: 'subscribe', id: 1, channel: `room-${index % channels}`, presence: true, watch: 'none' }));
        });
        socket.on('message', (text) => {
            const frame = JSON.parse(text);
            if (frame.type === 'subscribed') { resolve(); }
            if (frame.type === 'reconnect') { delays.push(frame.delay); }
            if (frame.type === 'message' && ++received === messages * clients / channels) { allReceived(); }
        });
        socket.on('close', (code) => closes.push({ code, at: Date.now() }));
    });
}

const memoryBefore = pss();
for (let first = 0; first < clients; first += 250) {
    await Promise.all(Array.from({ length: 250 }, (_, i) => open(first + i)));
}
const memoryAfter = pss();

const cpuBefore = cpuSeconds();
const delivered = new Promise((resolve) => { allReceived = resolve; });
for (let i = 0; i < messages; ++i) {
    const answer = await fetch(`http://127.0.0.1:${port}/v1/channels/room-0/messages`, {
        method: 'POST', headers: { authorization: 'Bearer dev' }, body: JSON.stringify({ data: { i, text: 'x'.repeat(40) } }) });
    await answer.text();
}
await delivered;
const cpuAfter = cpuSeconds();

const begin = Date.now();
gateway.kill('SIGTERM');
const exit = await ended;
const perSecond = {};
for (const { at } of closes) { perSecond[Math.floor((at - begin) / 1000)] = (perSecond[Math.floor((at - begin) / 1000)] ?? 0) + 1; }
console.log(JSON.stringify({
    clients,
    memoryBytesPerConnection: Math.round((memoryAfter - memoryBefore) / clients),
    fanout: { deliveries: received, serverCpuSecondsPerMillion: Number(((cpuAfter - cpuBefore) / received * 1e6).toFixed(2)) },
    drain: { reconnectFrames: delays.length, distinctDelays: new Set(delays).size, largestDelayMs: Math.max(...delays),
        closeCodes: [...new Set(closes.map((close) => close.code))], closesPerSecond: perSecond,
        milliseconds: exit.at - begin, exitCode: exit.code },
}, null, 2));
process.exit(0);

// Figures of a cluster on one Redis, as bench/results/cluster-figures.json keeps them: what an idle cluster costs Redis with few and with many connections, and how long a
// message and a join take to another node compared with the same node.
// usage: node bench/cluster_figures.mjs build/release/starling [--nodes 4] [--connections 1000,15000] [--seconds 10]
// Clients, gateways and Redis share the machine; operations and CPU seconds are steady, times are not.
import { spawn, execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { createRequire } from 'node:module';
import { cpus, release, totalmem } from 'node:os';

const WebSocket = createRequire(new URL('../tests/package.json', import.meta.url))('ws');
const option = (name, fallback) => {
    const at = process.argv.indexOf(`--${name}`);
    return at > 0 ? process.argv[at + 1] : fallback;
};
const binary = process.argv[2];
const nodes = Number(option('nodes', '4'));
const sizes = option('connections', '1000,15000').split(',').map(Number);
const seconds = Number(option('seconds', '10'));
const pause = (ms) => new Promise((done) => setTimeout(done, ms));

const children = [];
process.on('exit', () => children.forEach((child) => child.kill('SIGKILL')));
function start(command, words) {
    const child = spawn(command, words, { stdio: ['ignore', 'pipe', 'ignore'] });
    children.push(child);
    return child;
}
async function freePort() {
    const server = createServer();
    await new Promise((done) => server.listen(0, '127.0.0.1', done));
    const { port } = server.address();
    await new Promise((done) => server.close(done));
    return port;
}
const cpu = (pid) => {
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1].split(' ');
    return (Number(fields[11]) + Number(fields[12])) / 100;
};
const pss = (pid) => 1024 * Number(/Pss:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))[1]);

const redisPort = await freePort();
const redis = start('redis-server', ['--port', String(redisPort), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no']);
await pause(500);
const ask = (...words) => execFileSync('redis-cli', ['-p', String(redisPort), ...words]).toString();
const commands = () => Number(/total_commands_processed:(\d+)/.exec(ask('INFO', 'stats'))[1]);

const gateways = [];
for (let i = 0; i < nodes; i += 1) {
    const child = start(binary, ['serve', '--dev', '--engine.type=redis', `--redis.url=redis://127.0.0.1:${redisPort}`,
        '--server.listen=127.0.0.1:0', '--server.admin=127.0.0.1:0', '--server.shards=1']);
    const port = await new Promise((done) => child.stdout.on('data', (text) => {
        const found = /public http:\/\/127\.0\.0\.1:(\d+)/.exec(text);
        if (found) { done(Number(found[1])); }
    }));
    gateways.push({ pid: child.pid, port });
}
for (const { port } of gateways) {
    while (!(await fetch(`http://127.0.0.1:${port}/health/ready`).then((r) => r.ok, () => false))) { await pause(50); }
}

function open(node, user, channel, hear) {
    return new Promise((done, fail) => {
        const address = `127.0.0.${1 + (Number(user.slice(1)) % 8)}`;
        const socket = new WebSocket(`ws://127.0.0.1:${gateways[node].port}/v1/ws`, { perMessageDeflate: false, localAddress: address });
        socket.on('error', fail);
        socket.on('open', () => {
            socket.send(JSON.stringify({ type: 'connect', user }));
            socket.send(JSON.stringify({ type: 'subscribe', id: 1, channel, presence: true, ...(hear ? {} : { watch: 'none' }) }));
        });
        socket.on('message', (text) => {
            const frame = JSON.parse(text);
            if (frame.type === 'subscribed') { done(socket); }
            hear?.(frame);
        });
    });
}
const percentile = (values, p) => {
    const sorted = [...values].sort((a, b) => a - b);
    return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * p))];
};

const idle = [];
let opened = 0;
for (const size of sizes) {
    const began = Date.now();
    while (opened < size) {
        const batch = [];
        for (let i = 0; i < 200 && opened < size; i += 1, opened += 1) { batch.push(open(opened % nodes, `u${opened}`, `idle:${Math.floor(opened / 10)}`)); }
        await Promise.all(batch);
    }
    const connectSeconds = (Date.now() - began) / 1000;
    await pause(4000);
    const before = { commands: commands(), redis: cpu(redis.pid), nodes: gateways.map((g) => cpu(g.pid)) };
    await pause(seconds * 1000);
    idle.push({ connections: size, channels: Math.ceil(size / 10), connectSeconds,
        redisCommandsPerSecond: (commands() - before.commands) / seconds,
        redisCpuPercent: (100 * (cpu(redis.pid) - before.redis)) / seconds,
        nodeCpuPercent: gateways.map((g, i) => (100 * (cpu(g.pid) - before.nodes[i])) / seconds),
        redisMemory: Number(/used_memory:(\d+)/.exec(ask('INFO', 'memory'))[1]),
        nodePss: gateways.map((g) => pss(g.pid)) });
}

// A publisher on node 0; one subscriber on node 0 and one on node 1.
const times = { same: [], other: [], joinSame: [], joinOther: [] };
const sent = new Map();
const hearing = (kind) => (frame) => {
    if (frame.type === 'message') { times[kind].push(Number(process.hrtime.bigint() - sent.get(frame.data)) / 1e6); }
    if (frame.type === 'presence.join') {
        const at = sent.get(frame.userId);
        if (at) { times[kind === 'same' ? 'joinSame' : 'joinOther'].push(Number(process.hrtime.bigint() - at) / 1e6); }
    }
};
await open(0, 'u900001', 'figures:room', hearing('same'));
await open(1, 'u900002', 'figures:room', hearing('other'));
const publisher = await open(0, 'u900003', 'figures:room');
for (let i = 0; i < 1000; i += 1) {
    sent.set(i, process.hrtime.bigint());
    publisher.send(JSON.stringify({ type: 'publish', channel: 'figures:room', data: i }));
    await pause(12);                         // Below frames_per_second.
}
for (let i = 0; i < 100; i += 1) {
    const user = `u${910000 + i}`;
    sent.set(user, process.hrtime.bigint());
    const socket = await open(0, user, 'figures:room');
    await pause(30);
    socket.close();
}
await pause(500);
const figures = Object.fromEntries(Object.entries(times).map(([name, values]) =>
    [name, { count: values.length, p50: percentile(values, 0.5), p99: percentile(values, 0.99) }]));
const machine = `${cpus().length} cores, ${Math.round(totalmem() / 2 ** 30)} GiB, Linux ${release()}, ${ask('INFO', 'server').match(/redis_version:(\S+)/)[1]} Redis`;
const commit = execFileSync('git', ['describe', '--always', '--dirty']).toString().trim();
const command = `node bench/cluster_figures.mjs build/release/starling ${process.argv.slice(3).join(' ')}`.trim();
console.log(JSON.stringify({ machine, commit, command, nodes, idle, milliseconds: figures }, null, 2));
process.exit(0);

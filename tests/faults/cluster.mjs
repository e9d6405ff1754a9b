// A cluster of real processes: gateways, each behind its own proxy to Redis, and the people on them.
import { spawn, execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { readFile, readdir } from 'node:fs/promises';
import { createConnection, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { Server, eventually, pause } from '../protocol/harness.mjs';
import { Proxy } from './proxy.mjs';
import { Ways } from './ways.mjs';
import { Person } from './oracle.mjs';

const run = promisify(execFile);
const here = dirname(fileURLToPath(import.meta.url));

const running = new Set();
process.on('exit', () => {
    for (const child of running) child.kill('SIGKILL');
});

// Below those of topologies.py, and those that the kernel gives to who calls.
export async function freePort() {
    for (;;) {
        const server = createServer();
        const port = 12000 + Math.floor(Math.random() * 8000);
        const free = await new Promise((done) => server.once('error', () => done(false)).listen(port, '127.0.0.1', () => done(true)));
        if (!free) continue;
        await new Promise((done) => server.close(done));
        return port;
    }
}

// One command in one line of text, on a connection of its own: what may hang for long must not hold up anything else.
export function inline(port, text) {
    return new Promise((done) => {
        const socket = createConnection(port, '127.0.0.1', () => socket.write(`${text}\r\n`));
        socket.on('data', (bytes) => {
            socket.destroy();
            done(bytes.toString());
        });
        socket.on('error', (error) => done(`-${error.message}`));
        socket.on('close', () => done('-closed'));
    });
}

// What these servers run from now on, what scripts run too: how many commands look like `pattern`.
export function watchCommands(ports, pattern) {
    const seen = { count: 0 };
    const sockets = ports.map((port) => createConnection(port, '127.0.0.1', function begin() {
        this.write('MONITOR\r\n');
    }));
    seen.ready = Promise.all(sockets.map((socket) => new Promise((done) => {
        let rest = '';
        socket.on('error', () => {});
        socket.on('data', (bytes) => {
            done();
            const lines = (rest + bytes.toString('latin1')).split('\n');
            rest = lines.pop();
            for (const line of lines) if (pattern.test(line)) seen.count += 1;
        });
    })));
    seen.end = () => {
        for (const socket of sockets) socket.destroy();
        return seen;
    };
    return seen;
}

export const metrics = async (node) => (await node.get('/metrics', { key: null, admin: true })).text;
export const metric = (text, name) => Number(text.match(new RegExp(`^${name} (\\S+)`, 'm'))?.[1] ?? NaN);
export const percentile = (values, p) => [...values].sort((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * p))];

// One redis-server, which a test may kill, stop and empty.
export class Redis {
    static async start(words = []) {
        const redis = new Redis();
        redis.port = await freePort();
        redis.folder = mkdtempSync(join(tmpdir(), 'starling-redis-'));
        redis.words = words;
        await redis.launch();
        return redis;
    }

    async launch({ answers = /PONG/ } = {}) {
        this.child = spawn(
            'redis-server',
            ['--port', String(this.port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no', '--dir', this.folder, '--enable-debug-command', 'local', ...this.words],
            { stdio: 'ignore' },
        );
        const child = this.child;
        running.add(child);
        child.once('exit', () => running.delete(child));
        await eventually(async () => answers.test(await this.ask('PING')), 5000, 'redis answers');
    }

    until(look, what) {
        return eventually(look, 20000, what);
    }

    flush() {
        return this.ask('FLUSHALL');
    }

    primary() {
        return this.port;
    }

    publish(channel, payload) {
        return this.ask('PUBLISH', channel, payload);
    }

    async ask(...words) {
        const { stdout } = await run('redis-cli', ['-p', String(this.port), ...words.map(String)]);
        return stdout;
    }

    async kill() {
        const gone = new Promise((done) => this.child.once('exit', done));
        this.child.kill('SIGKILL');
        await gone;
    }

    pause() {
        this.child.kill('SIGSTOP');
    }

    resume() {
        this.child.kill('SIGCONT');
    }

    async keys() {
        return Number((await this.ask('DBSIZE')).match(/\d+/)[0]);
    }

    // What a field of each node's lease in each partition holds.
    async leases(field) {
        const words = (await this.ask('EVAL', "local o = {} for _, k in ipairs(redis.call('KEYS', 'st:*}:l:*')) do o[#o + 1] = redis.call('HGET', k, ARGV[1]) or '' end return o", 0, field));
        return words.trimEnd().split('\n');
    }

    async stop() {
        this.resume();
        await this.kill();
        rmSync(this.folder, { recursive: true, force: true });
    }
}

// Redis under Sentinel or in its cluster form, run by topologies.py: one command a line, one answer a line.
export class Topology {
    static async start(form, words = []) {
        const topology = new Topology();
        topology.form = form;
        topology.child = spawn('python3', [join(here, 'topologies.py'), form, ...words], { stdio: ['pipe', 'pipe', 'inherit'] });
        running.add(topology.child);
        topology.answers = [];
        topology.waiting = [];
        let rest = '';
        topology.child.stdout.on('data', (piece) => {
            const lines = (rest + piece).split('\n');
            rest = lines.pop();
            for (const line of lines) (topology.waiting.shift() ?? ((value) => topology.answers.push(value)))(JSON.parse(line));
        });
        topology.child.once('exit', () => {
            for (const waiter of topology.waiting.splice(0)) waiter({ error: 'the servers did not start' });
        });
        const { error, ...servers } = await topology.answer();
        if (error) throw new Error(error);
        return Object.assign(topology, servers);
    }

    answer() {
        return this.answers.length > 0 ? Promise.resolve(this.answers.shift()) : new Promise((done) => this.waiting.push(done));
    }

    say(...words) {
        this.child.stdin.write(`${words.join(' ')}\n`);
        return this.answer();
    }

    publish(channel, payload) {
        return this.say('ask', this.servers[0].port, 'PUBLISH', channel, payload);
    }

    // A command to every data server.
    async ask(...words) {
        for (const { port } of this.servers.filter((s) => s.role !== 'sentinel')) await this.say('ask', port, ...words);
    }

    flush() {
        return this.say('flush');
    }

    // All data servers at once: by SIGKILL, and again with nothing in them; by SIGSTOP and SIGCONT.
    kill() {
        return this.say('kill-data');
    }

    async launch() {
        const { error } = await this.say('launch-data');
        if (error) throw new Error(error);
    }

    pause() {
        return this.say('pause-data');
    }

    resume() {
        return this.say('resume-data');
    }

    async keys() {
        let sum = 0;
        for (const port of (await this.say('primaries')).ports) sum += (await this.say('ask', port, 'DBSIZE')).answer;
        return sum;
    }

    async leases(field) {
        const found = [];
        for (const port of (await this.say('primaries')).ports) {
            for (const key of (await this.say('ask', port, 'KEYS', 'st:*}:l:*')).answer) found.push((await this.say('ask', port, 'HGET', key, field)).answer ?? '');
        }
        return found;
    }

    // Of the channel's partition; known once somebody is present there.
    async slot(channel) {
        for (const { port } of this.servers.filter((s) => s.role !== 'sentinel')) {
            const { answer } = await this.say('ask', port, 'KEYS', `*:pd:default/${channel}`);
            if (answer?.[0]) return (await this.say('ask', port, 'CLUSTER', 'KEYSLOT', answer[0])).answer;
        }
        throw new Error(`no server has ${channel}`);
    }

    async primary(channel) {
        return (await this.say('primary', ...(this.form === 'cluster' ? [await this.slot(channel)] : []))).port;
    }

    replicas(primary) {
        return this.servers.filter((s) => s.role !== 'sentinel' && s.port !== primary).map((s) => s.port);
    }

    async stop() {
        const gone = new Promise((done) => this.child.once('exit', done));
        this.child.stdin.end();
        await gone;
        running.delete(this.child);
        for (const proxy of this.proxies ?? []) proxy.stop();
    }
}

// Short constants make a fault last seconds; their relations are those of the defaults.
export const constants = process.argv.includes('--default-constants')
    ? { heartbeat: 1000, lease: 8500, linger: 5000 }
    : { heartbeat: 200, lease: 2000, linger: 1000 };
export const bounds = {
    crash: constants.lease + 2 * constants.heartbeat + 1000,
    hold: constants.lease + constants.heartbeat,
    settle: 2 * constants.heartbeat,
};

export class Cluster {
    ids = 1000;
    people = [];
    nodes = [];
    proxies = [];

    constructor(redis) {
        this.redis = redis;
    }

    // `prepare`: what is done before node i starts; `options`: how it is started, by its number; `between`: a proxy stands before each
    // server of Sentinel and Cluster, too.
    async start({ nodes = 3, shards = 1, flags = [], prepare, options, between = false } = {}) {
        this.more = flags;
        this.options = options;
        this.shards = shards;
        for (let i = 0; i < nodes; i += 1) {
            if (this.redis.port) this.proxies.push(await Proxy.start(this.redis.port));
            else if (between) this.proxies.push(await Ways.start(this.redis.servers, this.redis.url));
            prepare?.(this, i);
            this.nodes.push(await this.boot(i));
        }
    }

    flags(i) {
        return [
            '--engine.type=redis',
            `--redis.url=${this.redis.urls?.[i] ?? this.proxies[i]?.url ?? this.redis.url ?? `redis://${this.proxies[i].address}`}`,
            `--cluster.heartbeat_ms=${constants.heartbeat}`,
            `--cluster.lease_ms=${constants.lease}`,
            `--presence.linger_ms=${constants.linger}`,
            '--server.drain.delay_ms=200',
            '--server.drain.window_ms=1500',
            `--server.shards=${this.shards}`,
            ...this.more,
        ];
    }

    boot(i) {
        return Server.start(this.flags(i), this.options?.(i));
    }

    // A node that takes connections, from `n` on; with `roam` false that one or none.
    pick(n, roam) {
        const alive = (server) => server && !server.down;
        if (!roam) return alive(this.nodes[n]) ? this.nodes[n] : undefined;
        for (let i = 0; i < this.nodes.length; i += 1) {
            const server = this.nodes[(n + i) % this.nodes.length];
            if (alive(server)) return server;
        }
        return undefined;
    }

    async kill(i) {
        this.nodes[i].down = true;
        this.nodes[i].signal('SIGKILL');
        await this.nodes[i].exited;
    }

    async restart(i) {
        this.nodes[i] = await this.boot(i);
    }

    async person(user, options) {
        const person = new Person(this, user, options);
        this.people.push(person);
        await person.start();
        return person;
    }

    until(look, timeout = 5000, what) {
        return eventually(look, timeout, what);
    }

    // Everyone who watches `channel` sees exactly these users.
    agree(channel, users, timeout = 5000) {
        const wanted = [...users].sort();
        const watchers = this.people.filter((p) => !p.stopped && p.rooms.has(channel));
        return this.until(
            () => watchers.every((p) => JSON.stringify(p.members(channel)) === JSON.stringify(wanted)),
            timeout,
            () => `all agree on ${wanted}: ${watchers.map((p) => `${p.user} sees ${p.members(channel)}`).join('; ')}`,
        );
    }

    // Everyone has every message of `channel` that was acknowledged, in one order.
    async complete(channel, published, timeout = 5000, people = this.people) {
        const ids = published.map((p) => p.messageId);
        const watchers = people.filter((p) => !p.stopped && p.rooms.has(channel));
        await this.until(() => watchers.every((p) => ids.every((id) => p.rooms.get(channel).ids.has(id))), timeout, () => {
            const lacks = watchers.map((p) => {
                const { ids: has, gaps, position } = p.rooms.get(channel);
                const lacking = published.filter(({ messageId }) => !has.has(messageId)).map(({ offset }) => offset);
                const told = gaps.map(({ reason, at }) => `${reason} ${Date.now() - at} ms ago`);
                return lacking.length > 0 && `${p.user} at ${position?.offset} lacks ${lacking.slice(0, 9)} (${told.join(', ') || 'no gap told'}; ${p.connects} connects)`;
            });
            return `all have ${ids.length} messages of ${channel}: ${lacks.filter(Boolean).join('; ')}`;
        });
    }

    // Everyone hears these people. Who was cut off may be told of a gap by the first message, and begins behind it; then by none.
    async hear(channel, people) {
        const began = Date.now();
        const first = [];
        for (const person of people) first.push(await person.publish(channel, 'is anybody there?'));
        const watchers = this.people.filter((p) => !p.stopped && p.rooms.has(channel));
        await this.until(() => watchers.every((p) => {
            const { ids, gaps } = p.rooms.get(channel);
            return p.link?.subscribed.has(channel) && (first.every(({ messageId }) => ids.has(messageId)) || gaps.some(({ at }) => at >= began));
        }), 5000, 'all have the first message, or are told of a gap');
        const second = [];
        for (const person of people) second.push(await person.publish(channel, 'all hear this'));
        await this.complete(channel, second);
    }

    // User-space memory of a node, in MB.
    async memory(i) {
        const text = await readFile(`/proc/${this.nodes[i].child.pid}/smaps_rollup`, 'utf8');
        return Number(text.match(/^Pss:\s+(\d+)/m)[1]) / 1024;
    }

    async descriptors(i) {
        return (await readdir(`/proc/${this.nodes[i].child.pid}/fd`)).length;
    }

    check() {
        for (const person of this.people) person.check();
    }

    // M2: whoever was told of no gap holds what the log holds, and nothing that it does not.
    async lie(channel) {
        const log = await this.nodes.find((n) => !n.down).get(`/v1/channels/${encodeURIComponent(channel)}/messages?limit=1000`);
        const kept = new Set((log.json.messages ?? []).map((m) => m.id));
        // What is older than all that the log still has, it may have had.
        const oldest = Math.min(...(log.json.messages ?? []).map((m) => m.offset));
        for (const person of this.people) {
            const room = person.rooms.get(channel);
            if (person.stopped || room.gaps.length > 0) continue;
            const ghosts = room.messages.filter(({ id, offset }) => id && offset >= oldest && !kept.has(id));
            if (ghosts.length > 0) return `${person.user} holds ${ghosts.length} messages that the log lost, and was told nothing`;
        }
        return undefined;
    }

    async honest(channel) {
        const lie = await this.lie(channel);
        if (lie) throw new Error(lie);
    }

    // M6 takes its time: a node finds out what was lost when it reaches Redis again.
    async whenHonest(channel, timeout) {
        let lie;
        await this.until(async () => (lie = await this.lie(channel)) === undefined, timeout, () => lie);
    }

    async stop() {
        for (const person of this.people) {
            person.stopped = true;
            person.link?.ws.terminate();
            person.next?.ws.terminate();
        }
        for (const node of this.nodes) await node.stop();
        for (const proxy of this.proxies) proxy.stop();
        await this.redis.stop();
    }
}

export { pause };

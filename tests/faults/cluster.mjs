// A cluster of real processes: gateways, each behind its own proxy to Redis, and the people on them.
import { spawn, execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Server, eventually, pause } from '../protocol/harness.mjs';
import { Proxy } from './proxy.mjs';
import { Person } from './oracle.mjs';

const run = promisify(execFile);

const running = new Set();
process.on('exit', () => {
    for (const child of running) child.kill('SIGKILL');
});

async function freePort() {
    const server = createServer();
    await new Promise((done) => server.listen(0, '127.0.0.1', done));
    const { port } = server.address();
    await new Promise((done) => server.close(done));
    return port;
}

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

    async launch() {
        this.child = spawn(
            'redis-server',
            ['--port', String(this.port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no', '--dir', this.folder, ...this.words],
            { stdio: 'ignore' },
        );
        const child = this.child;
        running.add(child);
        child.once('exit', () => running.delete(child));
        await eventually(async () => (await this.ask('PING')).trim() === 'PONG', 5000, 'redis answers');
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

    signal(name) {
        this.child.kill(name);
    }

    async stop() {
        this.child.kill('SIGCONT');
        await this.kill();
        rmSync(this.folder, { recursive: true, force: true });
    }
}

// Short constants make a fault last seconds; their relations are those of the defaults.
export const constants = { heartbeat: 200, lease: 2000, linger: 1000 };
export const bounds = {
    crash: constants.lease + 2 * constants.heartbeat + 1000,
    hold: constants.lease + constants.heartbeat,
    settle: 2 * constants.heartbeat,
};

export class Cluster {
    static async start({ nodes = 3, shards = 1, redis } = {}) {
        const cluster = new Cluster();
        cluster.ids = 1000;
        cluster.people = [];
        cluster.shards = shards;
        cluster.redis = redis ?? (await Redis.start());
        cluster.nodes = [];
        cluster.proxies = [];
        for (let i = 0; i < nodes; i += 1) {
            cluster.proxies.push(await Proxy.start(cluster.redis.port));
            cluster.nodes.push(await cluster.boot(i));
        }
        return cluster;
    }

    flags(i) {
        return [
            '--engine.type=redis',
            `--redis.url=redis://${this.proxies[i].address}`,
            `--cluster.heartbeat_ms=${constants.heartbeat}`,
            `--cluster.lease_ms=${constants.lease}`,
            `--presence.linger_ms=${constants.linger}`,
            '--server.drain.delay_ms=200',
            '--server.drain.window_ms=1500',
            `--server.shards=${this.shards}`,
        ];
    }

    boot(i) {
        return Server.start(this.flags(i));
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
            const lacks = watchers.map((p) => `${p.user} lacks ${ids.filter((id) => !p.rooms.get(channel).ids.has(id)).length}`);
            return `all have ${ids.length} messages of ${channel}: ${lacks.join(', ')}`;
        });
    }

    check() {
        for (const person of this.people) person.check();
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

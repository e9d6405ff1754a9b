// Starts the gateway as a black box and speaks its protocol: what a test needs to set up, act and look.
import { spawn } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import assert from 'node:assert/strict';
import WebSocket from 'ws';
import { Agent, request } from 'undici';

export { assert, WebSocket };

const here = dirname(fileURLToPath(import.meta.url));

export function option(name, fallback) {
    const inline = process.argv.find((word) => word.startsWith(`--${name}=`));
    if (inline) return inline.slice(name.length + 3);
    const at = process.argv.indexOf(`--${name}`);
    return at > 0 && process.argv[at + 1] !== undefined ? process.argv[at + 1] : fallback;
}

export const binary = resolve(
    option('binary', process.env.STARLING_BINARY ?? join(here, '../../build/release/starling')),
);
export const shards = Number(option('shards', '1'));
const only = option('only', '');
const perTestMs = Number(option('test-timeout', '15000'));

// ---------------------------------------------------------------- the process

const running = new Set();
process.on('exit', () => {
    for (const child of running) child.kill('SIGKILL');
});
for (const name of ['SIGINT', 'SIGTERM']) process.once(name, () => process.exit(1));

export class Server {
    static async start(flags = [], { config, env = {}, ready = true, stderr = 'pipe' } = {}) {
        const server = new Server();
        const words = ['serve'];
        if (config !== undefined) {
            server.folder = mkdtempSync(join(tmpdir(), 'starling-test-'));
            server.file = join(server.folder, 'starling.toml');
            writeFileSync(server.file, config);
            words.push('--config', server.file);
        } else {
            words.push('--dev');
        }
        words.push('--server.listen', '127.0.0.1:0', '--server.admin', '127.0.0.1:0');
        words.push(`--server.shards=${shards}`, ...flags);
        server.output = '';
        server.errors = '';
        const child = spawn(binary, words, {
            env: { PATH: process.env.PATH, HOME: process.env.HOME, ...env },
            stdio: ['ignore', 'pipe', stderr],
        });
        server.child = child;
        running.add(child);
        server.exited = new Promise((done) => {
            child.on('exit', (code, signal) => {
                running.delete(child);
                done({ code, signal });
            });
            child.on('error', () => done({ code: null, signal: 'ENOENT' }));
        });
        child.stderr?.on('data', (piece) => (server.errors = (server.errors + piece).slice(-65536)));
        // Port 0 means any free one; the lines on stdout say which it became, one a listener.
        const lines = await within(
            10000,
            () => `no listener lines; stdout: ${server.output} stderr: ${server.errors.slice(-1500)}`,
            new Promise((done, fail) => {
                child.stdout.on('data', (piece) => {
                    server.output += piece;
                    const found = server.output
                        .split('\n')
                        .slice(0, -1)
                        .filter((line) => /127\.0\.0\.1:\d+/.test(line));
                    if (found.length >= 2) done(found);
                });
                server.exited.then(({ code, signal }) =>
                    fail(new Error(`the gateway ended (${code ?? signal}): ${server.errors.slice(-1500)}`)),
                );
            }),
        );
        const admin = lines.find((line) => /admin/i.test(line)) ?? lines[1];
        const open = lines.find((line) => line !== admin);
        server.address = open.match(/127\.0\.0\.1:\d+/)[0];
        server.adminAddress = admin.match(/127\.0\.0\.1:\d+/)[0];
        server.clients = new Set();
        server.agent = new Agent({ keepAliveTimeout: 1000 });
        if (ready) {
            const well = async () => (await server.get('/health/ready', { key: null })).status === 200;
            await eventually(well, 15000, () => `it is ready: ${server.errors.slice(-800)}`).catch(async (error) => {
                await server.stop();
                throw error;
            });
        }
        return server;
    }

    signal(name) {
        this.child.kill(name);
    }

    async stop() {
        for (const client of this.clients) client.ws.terminate();
        await this.agent.destroy();
        if (running.has(this.child)) {
            // Lingers make a polite end slow, and nothing is looked at any more.
            this.child.kill('SIGKILL');
            await this.exited;
        }
        if (this.folder) rmSync(this.folder, { recursive: true, force: true });
    }

    async http(method, path, body, { key = 'dev', headers = {}, raw = false, admin = false } = {}) {
        const answer = await request(`http://${admin ? this.adminAddress : this.address}${path}`, {
            method,
            dispatcher: this.agent,
            headers: {
                ...(key === null ? {} : { authorization: `Bearer ${key}` }),
                ...(body === undefined ? {} : { 'content-type': 'application/json' }),
                ...headers,
            },
            body: body === undefined ? undefined : raw ? body : JSON.stringify(body),
        });
        const text = await answer.body.text();
        let json;
        try {
            json = JSON.parse(text);
        } catch {
            json = undefined;
        }
        if (json?.error?.code) provoked.add(json.error.code);
        return { status: answer.statusCode, headers: answer.headers, text, json };
    }

    get(path, options) {
        return this.http('GET', path, undefined, options);
    }

    post(path, body, options) {
        return this.http('POST', path, body, options);
    }

    publish(channel, body, options) {
        return this.post(`/v1/channels/${encodeURIComponent(channel)}/messages`, body, options);
    }

    // A connected client; `hello` is its connect frame, or null to stay silent after the upgrade.
    async connect(hello = {}, options = {}) {
        const client = new Client(this, options);
        this.clients.add(client);
        await client.opened;
        if (hello === null) return client;
        const frame = typeof hello === 'string' ? { user: hello } : hello;
        client.send({ type: 'connect', id: 1, ...frame });
        const first = await client.waitFor((f) => f.type === 'connected' || f.type === 'error');
        if (first.type === 'error') throw new Error(`connect refused: ${JSON.stringify(first)}`);
        client.hello = first;
        return client;
    }
}

// Error and close codes that gateways have sent here; run.mjs asks whether a whole run has provoked all of them.
const provoked = new Set();

// ---------------------------------------------------------------- a client

export class Client {
    constructor(server, { path = '/v1/ws', protocols = 'starling.v1.json', headers = {} } = {}) {
        this.frames = [];
        this.seen = 0;
        this.waiters = new Set();
        this.nextId = 100;
        this.ws = new WebSocket(`ws://${server.address}${path}`, protocols ? [protocols] : [], {
            headers,
            perMessageDeflate: false,
        });
        this.opened = within(
            5000,
            'the upgrade took longer than 5 s',
            new Promise((done, fail) => {
                this.ws.once('open', done);
                this.ws.once('error', fail);
            }),
        );
        this.opened.catch(() => {});
        this.ws.on('error', () => {});
        this.closed = new Promise((done) => {
            this.ws.on('close', (code, reason) => {
                this.closeCode = code;
                provoked.add(code);
                for (const waiter of this.waiters) waiter.gone();
                done({ code, reason: reason.toString() });
            });
        });
        this.ws.on('message', (bytes) => {
            const frame = JSON.parse(bytes.toString());
            frame.raw = bytes.toString();
            if (frame.type === 'error') provoked.add(frame.code);
            Object.defineProperty(frame, 'raw', { enumerable: false });
            Object.defineProperty(frame, 'at', { value: Date.now(), enumerable: false });
            this.frames.push(frame);
            for (const waiter of this.waiters) waiter.look(frame);
        });
    }

    send(frame) {
        this.ws.send(typeof frame === 'string' ? frame : JSON.stringify(frame));
    }

    // Sends with a fresh id and gives the one reply, whether it is the named one or an error.
    request(type, fields = {}, timeout = 5000) {
        const id = this.nextId++;
        this.send({ type, id, ...fields });
        // The id of a message is a string, so a number can only be a reply's.
        return this.waitFor((frame) => frame.id === id, timeout, `the reply to ${type} ${JSON.stringify(fields).slice(0, 200)}`);
    }

    async ok(type, fields, timeout) {
        const reply = await this.request(type, fields, timeout);
        assert.notEqual(reply.type, 'error', `${type} was refused: ${JSON.stringify(reply)}`);
        return reply;
    }

    async refused(code, type, fields) {
        const reply = await this.request(type, fields);
        assert.equal(reply.type, 'error', `${type} should be refused, got ${JSON.stringify(reply)}`);
        assert.equal(reply.code, code, JSON.stringify(reply));
        assert.equal(typeof reply.message, 'string');
        assert.equal(typeof reply.retryable, 'boolean');
        return reply;
    }

    subscribe(channel, fields = {}) {
        return this.ok('subscribe', { channel, ...fields });
    }

    // The first frame that fits, of those not yet taken by an earlier waitFor or still to come.
    waitFor(predicate, timeout = 5000, what = predicate.toString()) {
        const fits = typeof predicate === 'string' ? (frame) => frame.type === predicate : predicate;
        const had = this.frames.find((frame) => !frame.taken && fits(frame));
        if (had) return Promise.resolve(take(had));
        return new Promise((done, fail) => {
            const end = (why) => {
                clearTimeout(timer);
                this.waiters.delete(waiter);
                if (why) fail(new Error(`${why} ${what}; frames: ${JSON.stringify(this.frames.slice(-8)).slice(0, 1200)}`));
            };
            const waiter = {
                look: (frame) => {
                    if (frame.taken || !fits(frame)) return;
                    end();
                    done(take(frame));
                },
                gone: () => end(`closed with ${this.closeCode} before`),
            };
            const timer = setTimeout(() => end(`${timeout} ms passed before`), timeout);
            this.waiters.add(waiter);
            if (this.closeCode !== undefined) waiter.gone();
        });
    }

    of(type, channel) {
        return this.frames.filter((f) => f.type === type && (channel === undefined || f.channel === channel));
    }

    messages(channel) {
        return this.of('message', channel);
    }

    // All presence events, unpacked from diffs, in the order they came: ['join', user] and so on.
    presence(channel) {
        const events = [];
        for (const frame of this.frames) {
            if (frame.channel !== channel) continue;
            if (frame.type === 'presence.join') events.push(['join', frame.userId]);
            if (frame.type === 'presence.leave') events.push(['leave', frame.userId]);
            if (frame.type === 'presence.update') events.push(['update', frame.userId]);
            if (frame.type === 'presence.diff') {
                for (const entry of frame.joins) events.push(['join', entry.userId]);
                for (const entry of frame.updates) events.push(['update', entry.userId]);
                for (const entry of frame.leaves) events.push(['leave', entry.userId ?? entry]);
            }
        }
        return events;
    }

    until(look, timeout = 5000, what = look.toString()) {
        return eventually(() => look(this), timeout, what);
    }

    async ping() {
        await this.ok('ping');
    }

    // The connection breaks: no farewell at all.
    cut() {
        this.ws._socket.destroy();
        return this.closed;
    }

    close(code = 1000) {
        this.ws.close(code);
        return this.closed;
    }

    closesWith(code, timeout = 5000) {
        return within(timeout, `no close ${code}; frames: ${JSON.stringify(this.frames.slice(-4)).slice(0, 600)}`, this.closed).then((end) => {
            assert.equal(end.code, code, `closed with ${end.code} ${end.reason}`);
            return end;
        });
    }
}

function take(frame) {
    Object.defineProperty(frame, 'taken', { value: true, enumerable: false });
    return frame;
}

// Nothing is on its way any more to these clients: whatever is due at once has come after two round
// trips on each. It is no cure for windows and timers; those are waited for by their own length.
export async function quiet(...clients) {
    for (let round = 0; round < 2; round += 1) await Promise.all(clients.map((client) => client.ping()));
}

export const pause = (ms) => new Promise((done) => setTimeout(done, ms));

// `what` says what was waited for: text, or a function that is asked when it is too late.
export async function eventually(look, timeout = 5000, what = look.toString()) {
    const end = Date.now() + timeout;
    let last;
    for (;;) {
        try {
            const found = await look();
            if (found) return found;
            last = undefined;
        } catch (error) {
            last = error;
        }
        if (Date.now() > end) throw new Error(`${timeout} ms passed before ${typeof what === 'function' ? what() : what}${last ? `: ${last.message}` : ''}`);
        await pause(10);
    }
}

export function within(ms, what, promise) {
    let timer;
    const late = new Promise((_, fail) => {
        timer = setTimeout(() => fail(new Error(typeof what === 'function' ? what() : what)), ms);
    });
    return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

// ---------------------------------------------------------------- tokens and configuration

export const secret = 'a secret of more than thirty-two bytes for tests';

export function jwt(claims, { key = secret, header = { alg: 'HS256', typ: 'JWT' } } = {}) {
    const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
    const body = `${part(header)}.${part(claims)}`;
    return `${body}.${createHmac('sha256', key).update(body).digest('base64url')}`;
}

export const soon = (seconds) => Math.floor(Date.now() / 1000) + seconds;

// A configuration of one app; `namespaces` is TOML text, `more` goes before the apps.
export function toml(namespaces = '', more = '') {
    return `${more}
[[apps]]
id = "default"
key = "app-key"
secret = "app-secret-that-is-not-short-at-all-really"
api_keys = ["dev"]
  [[apps.token_keys]]
  algorithm = "HS256"
  secret = "${secret}"
${namespaces}
`;
}

export function namespace(name, fields) {
    return `  [[apps.namespaces]]\n  name = "${name}"\n${fields.map((line) => `  ${line}\n`).join('')}`;
}

export const everything = 'allow = ["subscribe", "publish", "presence", "typing", "history"]';

// ---------------------------------------------------------------- stories

const stories = [];
let setting = { flags: [], options: {} };

// What the gateway of the following tests is started with; consecutive tests share one.
export function gateway(flags = [], options = {}) {
    setting = { flags, options };
}

export function test(name, story) {
    stories.push({ name, story, setting, timeout: perTestMs });
}

// A story that starts what it needs by itself.
export function alone(name, story, timeout = 0) {
    stories.push({ name, story, setting: null, timeout: Math.max(timeout, perTestMs) });
}

let counter = 0;
export const fresh = (prefix = 'room') => `${prefix}-${process.pid}-${++counter}`;

// Thrown by a story that cannot be told here, with the reason.
export class Skip extends Error {}

export async function main() {
    let passed = 0;
    let failed = 0;
    let skipped = 0;
    let server;
    let of;
    for (const { name, story, setting: wanted, timeout } of stories) {
        if (only && !name.includes(only)) continue;
        const began = Date.now();
        try {
            if (wanted && (of !== wanted || !running.has(server?.child))) {
                if (server) await server.stop();
                server = undefined;
                server = await Server.start(wanted.flags, wanted.options);
                of = wanted;
            }
            await within(timeout, `the test took longer than ${timeout} ms`, story(wanted ? server : undefined));
            passed += 1;
            console.log(`ok ${name} (${Date.now() - began} ms)`);
        } catch (error) {
            if (error instanceof Skip) {
                skipped += 1;
                console.log(`skipped ${name} :: ${error.message}`);
                continue;
            }
            failed += 1;
            console.log(`not ok ${name} :: ${String(error.message).replaceAll('\n', ' ').slice(0, 1500)}`);
            const at = String(error.stack).match(/[a-z_]+\.mjs:\d+:\d+(?=\)?$)/gm)?.find((line) => !line.startsWith('harness'));
            if (at) console.log(`  at ${at}`);
            if (server && !running.has(server.child)) console.log(`  the gateway is gone: ${server.errors.slice(-500)}`);
        }
        // A test leaves no connection behind for the next one.
        if (server) {
            for (const client of server.clients) client.ws.terminate();
            server.clients.clear();
        }
    }
    if (server) await server.stop();
    if (process.argv.includes('--tell-provoked')) console.log(`provoked ${[...provoked].join(' ')}`);
    console.log(`${passed} passed, ${failed} failed${skipped ? `, ${skipped} skipped` : ''}`);
    process.exit(failed ? 1 : 0);
}

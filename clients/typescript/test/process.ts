// A real gateway, and a cable to it that can be cut, stalled and plugged in elsewhere.
import { spawn, type ChildProcess } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after } from 'node:test';
import WebSocket from 'ws';
import { createClient, type Client, type ClientOptions } from '../src/index';

const kBinary = process.env['STARLING_BINARY'] ?? join(process.cwd(), '../../build/release/starling');
const running = new Set<ChildProcess>();
const cables = new Set<Cable>();
const open = new Set<Client>();
// Also after a test that failed, or what it left would keep the run from ending.
after(() => {
    done();
    for (const child of running) { child.kill('SIGKILL'); }
    for (const cable of cables) { cable.close(); }
});

export function client(url: string, user: string | undefined, more: Partial<ClientOptions> = {}): Client {
    const made = createClient({ url, ...(user !== undefined && { user }), WebSocket, ...more });
    open.add(made);
    return made;
}

// Ends all clients, and what else is given.
export function done(...things: { stop?: () => unknown; close?: () => unknown }[]): void {
    for (const one of open) { one.close(); }
    open.clear();
    for (const thing of things) { void (thing.close ?? thing.stop)?.call(thing); }
}

export interface Gateway { port: number; url: string; child: ChildProcess; exited: Promise<number | null>; stop(): Promise<void> }

export async function startGateway(flags: string[] = [], { config, port = 0 }: { config?: string; port?: number } = {}): Promise<Gateway> {
    const words = ['serve', '--server.listen', `127.0.0.1:${port}`, '--server.admin', '127.0.0.1:0', ...flags];
    if (config === undefined) {
        words.push('--dev');
    } else {
        const file = join(mkdtempSync(join(tmpdir(), 'starling-sdk-')), 'starling.toml');
        writeFileSync(file, config);
        words.push('--config', file);
    }
    const child = spawn(kBinary, words, { stdio: ['ignore', 'pipe', 'pipe'] });
    running.add(child);
    let noise = '';
    child.stderr.on('data', (piece) => { noise = (noise + piece).slice(-4000); });
    const exited = new Promise<number | null>((done) => { child.once('exit', (code) => { running.delete(child); done(code); }); });
    const address = await new Promise<string>((done, fail) => {
        void exited.then((code) => fail(new Error(`the gateway ended with ${code}: ${noise}`)));
        createInterface({ input: child.stdout }).on('line', (line) => {
            const found = /admin/i.test(line) ? null : /127\.0\.0\.1:(\d+)/.exec(line);
            if (found) { done(found[1]!); }
        });
    });
    const url = `http://127.0.0.1:${address}`;
    await until(async () => (await fetch(`${url}/health/ready`)).status === 200, 'the gateway is not ready');
    return { port: Number(address), url, child, exited, stop: async () => { child.kill('SIGKILL'); await exited; } };
}

export class Cable {
    private server: Server;
    private sockets = new Set<Socket>();
    private mute = new Set<Socket>();
    private whole = true;
    // Takes and gives nothing, and says nothing either.
    stalled = false;

    private constructor(public target: number) {
        this.server = createServer((near) => {
            if (!this.whole) { near.destroy(); return; }
            const far = connect(this.target, '127.0.0.1');
            for (const [socket, other] of [[near, far], [far, near]] as const) {
                this.sockets.add(socket);
                socket.on('error', () => {});
                const silent = (): boolean => this.stalled || this.mute.has(socket);
                socket.on('data', (bytes) => { if (!silent()) { other.write(bytes); } });
                socket.on('close', () => { this.sockets.delete(socket); if (!silent()) { other.destroy(); } });
            }
        });
    }
    static async to(gateway: Gateway): Promise<Cable> {
        const cable = new Cable(gateway.port);
        cables.add(cable);
        await new Promise<void>((done) => { cable.server.listen(0, '127.0.0.1', done); });
        return cable;
    }
    get url(): string { return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`; }
    cut(): void { this.whole = false; for (const socket of this.sockets) { socket.destroy(); } }
    // What is open now stays open and says nothing any more, as when a laptop slept; what is opened anew works.
    silence(): void { for (const socket of this.sockets) { this.mute.add(socket); } }
    mend(): void { this.whole = true; this.stalled = false; }
    close(): void { this.stalled = false; this.cut(); this.server.close(); }
}

export interface Redis { port: number; child: ChildProcess; stop(): Promise<void> }

// Keeps nothing on disk, unless there is a folder to keep it in: a new one on the same port has lost all that the old one had.
export async function startRedis(port?: number, folder?: string): Promise<Redis> {
    const at = port ?? await freePort();
    const keeps = folder === undefined ? ['--appendonly', 'no'] : ['--appendonly', 'yes', '--appendfsync', 'always', '--dir', folder];
    const child = spawn('redis-server', ['--port', String(at), '--bind', '127.0.0.1', '--save', '', ...keeps], { stdio: 'ignore' });
    running.add(child);
    const exited = new Promise<void>((gone) => { child.once('exit', () => { running.delete(child); gone(); }); });
    await until(() => new Promise((up) => {
        const probe = connect(at, '127.0.0.1', () => { probe.destroy(); up(true); });
        probe.on('error', () => up(false));
    }), 'redis does not listen');
    return { port: at, child, stop: async () => { child.kill('SIGKILL'); await exited; } };
}

// A primary, two replicas and three sentinels; their program takes one command a line and answers each by a line.
export async function startSentinel(): Promise<{ url: string; say(words: string): Promise<any>; stop(): void }> {
    const child = spawn('python3', [join(process.cwd(), '../../tests/faults/topologies.py'), 'sentinel'], { stdio: ['pipe', 'pipe', 'inherit'] });
    running.add(child);
    child.once('exit', () => running.delete(child));
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    const answer = async (): Promise<any> => JSON.parse((await lines.next()).value as string);
    const { url } = await answer();
    return {
        url,
        say: (words) => { child.stdin.write(`${words}\n`); return answer(); },
        stop: () => { child.stdin.end(); },
    };
}

export async function freePort(): Promise<number> {
    const probe = createServer();
    await new Promise<void>((ready) => { probe.listen(0, '127.0.0.1', ready); });
    const { port } = probe.address() as AddressInfo;
    await new Promise((closed) => probe.close(closed));
    return port;
}

export async function post(gateway: { url: string }, path: string, body: unknown): Promise<any> {
    const answer = await fetch(gateway.url + path, {
        method: 'POST', headers: { Authorization: 'Bearer dev', 'Content-Type': 'application/json' }, body: JSON.stringify(body),
    });
    if (!answer.ok) { throw new Error(`POST ${path}: ${answer.status} ${await answer.text()}`); }
    return answer.json();
}

export const publish = (gateway: { url: string }, channel: string, data: unknown): Promise<any> =>
    post(gateway, `/v1/channels/${encodeURIComponent(channel)}/messages`, { data });

export async function present(gateway: { url: string }, channel: string): Promise<number> {
    const answer = await fetch(`${gateway.url}/v1/channels/${encodeURIComponent(channel)}/presence/count`, { headers: { Authorization: 'Bearer dev' } });
    return (await answer.json()).count;
}

export const pause = (ms: number): Promise<void> => new Promise((done) => { setTimeout(done, ms); });

export async function until(look: () => unknown, complaint: string | (() => string), ms = 30_000): Promise<void> {
    const end = Date.now() + ms;
    for (;;) {
        try { if (await look()) { return; } } catch { /* Not yet. */ }
        if (Date.now() > end) { throw new Error(typeof complaint === 'string' ? complaint : complaint()); }
        await pause(10);
    }
}

export const kSecret = 'a secret of more than thirty-two bytes for tests';

export function jwt(claims: object): string {
    const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
    const body = `${part({ alg: 'HS256', typ: 'JWT' })}.${part(claims)}`;
    return `${body}.${createHmac('sha256', kSecret).update(body).digest('base64url')}`;
}

export const withTokens = (more = ''): string => `${more}
[[apps]]
id = "default"
key = "app-key"
secret = "app-secret-that-is-not-short-at-all-really"
api_keys = ["dev"]
  [[apps.token_keys]]
  algorithm = "HS256"
  secret = "${kSecret}"
  [[apps.namespaces]]
  name = ""
  allow = ["subscribe", "publish", "presence", "typing", "history"]
  history = { size = 100, ttl_s = 3600 }
`;

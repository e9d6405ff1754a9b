// How a connection ends decides what the others see: after some codes the user's presence lingers, after others it
// ends at once. And where a connection comes from: TLS, and proxies that say whose it is.
import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import tls from 'node:tls';
import { alone, assert, eventually, everything, fresh, gateway, jwt, main, namespace, pause, Server, soon, test, toml, WebSocket, within } from './harness.mjs';

const linger = 2500;
const soonEnough = 1200;   // For what is at once, on a busy machine, and still well before the linger is over.

// `end` ends the connection of a user that is present; gives the close code that was seen.
async function story(server, end, { lingers, join: enter = {}, user = 'alice' }) {
    const channel = fresh();
    const watcher = await server.connect(enter.watcher ?? 'watcher');
    await watcher.subscribe(channel);
    const alice = await server.connect(enter.alice ?? user);
    await alice.subscribe(channel, { presence: true });
    await watcher.until(() => watcher.presence(channel).length === 1);
    const code = await end(alice, channel);
    const from = Date.now();
    const left = () => watcher.presence(channel).some(([kind]) => kind === 'leave');
    if (!lingers) {
        await watcher.until(left, soonEnough, `a leave at once after ${code}`);
        return;
    }
    await pause(Math.max(0, soonEnough - (Date.now() - from)));
    await watcher.ping();
    assert.equal(left(), false, `no leave before the linger is over, after ${code}`);
    await watcher.until(left, linger + 3000, `a leave after the linger, after ${code}`);
    assert.deepEqual(watcher.presence(channel), [['join', user], ['leave', user]]);
}

const flags = [`--presence.linger_ms=${linger}`];
gateway(flags);

for (const [code, lingers] of [[1000, false], [1001, true], [3000, false], [4999, false]]) {
    test(`a client's close ${code} ${lingers ? 'lingers' : 'ends presence at once'}`, (server) =>
        story(server, (alice) => alice.close(code).then((end) => end.code), { lingers }));
}

test('a close without a code lingers', (server) =>
    story(server, (alice) => { alice.ws.close(); return alice.closed.then((end) => end.code); }, { lingers: true }));

test('a connection that breaks lingers', (server) => story(server, (alice) => alice.cut().then(() => 1006), { lingers: true }));

for (const code of [undefined, 4100, 4999]) {
    test(`${code ?? 4005} by the backend ends presence at once`, (server) =>
        story(server, async (alice) => {
            const reply = await server.post('/v1/users/alice/disconnect', code ? { code, reason: 'over' } : {});
            assert.equal(reply.json.connections, 1);
            const end = await alice.closesWith(code ?? 4005);
            if (code) assert.equal(end.reason, 'over');
            return code ?? 4005;
        }, { lingers: false }));
}

gateway([...flags, '--limits.frames_per_second=5', '--limits.frames_burst=20']);

test('4007, too many frames, lingers', (server) =>
    story(server, async (alice) => {
        for (let n = 0; n < 200; n += 1) alice.send({ type: 'ping' });
        await alice.closesWith(4007);
        return 4007;
    }, { lingers: true }));

gateway([...flags, '--limits.queue_bytes=65536', '--limits.data_bytes=65000']);

test('4008, too slow, lingers', (server) =>
    story(server, async (alice, channel) => {
        alice.ws._socket.pause();
        // Slowly enough that whoever reads is not too slow as well, and no longer than until it is closed: then it lingers.
        for (let n = 0; n < 400; n += 1) {
            await server.publish(channel, { data: 'x'.repeat(60000) });
            const { text } = await server.get('/metrics', { key: null, admin: true });
            if (/^starling_connections_closed_total\{code="4008"\} [1-9]/m.test(text)) break;
            assert.ok(n < 399, 'never closed for being too slow');
        }
        alice.ws._socket.destroy();
        return 4008;
    }, { lingers: true }));

gateway([...flags, '--server.ping_interval_s=1']);

test('4009, no pong, lingers', (server) =>
    story(server, async (alice) => {
        alice.ws._autoPong = false;
        alice.ws._receiver.removeAllListeners('ping');
        await alice.closesWith(4009, 14000);
        return 4009;
    }, { lingers: true }));

gateway(flags, { config: toml(namespace('', [everything]), '[auth]\nrefresh_grace_ms = 300\n') });

const as = (sub, claims = {}) => ({ token: jwt({ sub, ...claims }) });

test('4002, an expired token, lingers', async (server) => {
    await story(server, async (alice) => {
        await alice.closesWith(4002, 6000);
        return 4002;
    }, { lingers: true, join: { watcher: as('watcher'), alice: as('alice', { exp: soon(2) }) } });
});

test('4001, a refresh as somebody else, ends presence at once', async (server) => {
    await story(server, async (alice) => {
        alice.send({ type: 'refresh', ...as('eve') });
        await alice.closesWith(4001);
        return 4001;
    }, { lingers: false, join: { watcher: as('watcher'), alice: as('alice') } });
});

// ---- TLS ----

function certificate(folder, name) {
    execFileSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2',
        '-subj', `/CN=${name}`, '-keyout', join(folder, `${name}.key`), '-out', join(folder, `${name}.pem`)], { stdio: 'ignore' });
}

function use(folder, name) {
    copyFileSync(join(folder, `${name}.pem`), join(folder, 'tls.pem'));
    copyFileSync(join(folder, `${name}.key`), join(folder, 'tls.key'));
}

function subject(server, more = {}) {
    const [host, port] = server.address.split(':');
    return new Promise((done, fail) => {
        const socket = tls.connect({ host, port, rejectUnauthorized: false, ...more }, () => {
            done({ name: socket.getPeerCertificate().subject.CN, version: socket.getProtocol() });
            socket.destroy();
        });
        socket.on('error', fail);
    });
}

alone('TLS: wss, at least 1.2, and SIGHUP takes a new certificate without a lost connection', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'starling-tls-'));
    certificate(folder, 'first');
    certificate(folder, 'second');
    use(folder, 'first');
    const server = await Server.start([], {
        ready: false,
        config: toml(namespace('', [everything]), `[server]\ntls = { certificate = "${folder}/tls.pem", key = "${folder}/tls.key" }\n`),
    });
    try {
        assert.equal((await subject(server)).name, 'first');
        assert.equal((await subject(server, { minVersion: 'TLSv1.2', maxVersion: 'TLSv1.2' })).version, 'TLSv1.2');
        await assert.rejects(subject(server, { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'ALL:@SECLEVEL=0' }));
        const ws = new WebSocket(`wss://${server.address}/v1/ws`, { rejectUnauthorized: false });
        const frames = [];
        ws.on('message', (bytes) => frames.push(JSON.parse(bytes)));
        await within(5000, 'no upgrade over TLS', new Promise((done, fail) => ws.once('open', done).once('error', fail)));
        ws.send(JSON.stringify({ type: 'connect', id: 1, ...as('alice') }));
        await eventually(() => frames.some((frame) => frame.type === 'connected'));
        // More than one record each way.
        ws.send(JSON.stringify({ type: 'subscribe', channel: 'room' }));
        ws.send(JSON.stringify({ type: 'publish', channel: 'room', data: 'x'.repeat(60000) }));
        await eventually(() => frames.some((frame) => frame.type === 'message' && frame.data.length === 60000));
        use(folder, 'second');
        server.signal('SIGHUP');
        await eventually(async () => (await subject(server)).name === 'second');
        // A certificate that cannot be read changes nothing.
        writeFileSync(join(folder, 'tls.pem'), 'rubbish');
        server.signal('SIGHUP');
        await eventually(() => /reload refused/.test(server.errors));
        assert.equal((await subject(server)).name, 'second');
        ws.send(JSON.stringify({ type: 'ping', id: 9 }));
        await eventually(() => frames.some((frame) => frame.type === 'pong' && frame.id === 9));
        ws.terminate();
    } finally {
        await server.stop();
        rmSync(folder, { recursive: true, force: true });
    }
});

// ---- proxies ----

const signature = Buffer.from('\r\n\r\n\0\r\nQUIT\n', 'latin1');
const v1 = (address) => Buffer.from(`PROXY ${address.includes(':') ? 'TCP6' : 'TCP4'} ${address} ${address.includes(':') ? '2001:db8::1' : '198.51.100.2'} 56324 443\r\n`);
const v2 = (address, command = 0x21) => Buffer.concat([signature, Buffer.from([command, 0x11, 0, 12, ...address.split('.').map(Number), 198, 51, 100, 2, 0xdc, 4, 1, 0xbb])]);
const refused = 'GET /nowhere HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n';

// Sends bytes on a connection of its own and gives all that is answered.
function exchange(server, parts) {
    const [host, port] = server.address.split(':');
    return within(5000, 'the connection stays open', new Promise((done) => {
        let text = '';
        const socket = net.connect({ host, port }, async () => {
            for (const part of parts) {
                socket.write(part);
                await pause(20);
            }
        });
        socket.on('data', (data) => (text += data));
        socket.on('error', () => {});
        socket.on('close', () => done(text));
    }));
}

async function during(serverFlags, what) {
    const server = await Server.start(serverFlags);
    try {
        await what(server);
    } finally {
        await server.stop();
    }
}

const logged = (server, address) => eventually(() => server.errors.includes(`"address":"${address}","code":404`), 3000, `a line about ${address}: ${server.errors.slice(-400)}`);

alone('the PROXY protocol of a trusted proxy names the client, in both versions', () => during(['--server.trusted_proxies=127.0.0.0/8'], async (server) => {
    assert.match(await exchange(server, [v1('192.0.2.1'), refused]), /^HTTP\/1\.1 404 /);
    await logged(server, '192.0.2.1');
    assert.match(await exchange(server, [v2('192.0.2.2').subarray(0, 7), v2('192.0.2.2').subarray(7), refused]), /^HTTP\/1\.1 404 /);
    await logged(server, '192.0.2.2');
    assert.match(await exchange(server, [Buffer.concat([v2('192.0.2.3'), Buffer.from(refused)])]), /^HTTP\/1\.1 404 /);
    await logged(server, '192.0.2.3');
    // The proxy's own check, and a connection without a header, are the proxy's.
    assert.match(await exchange(server, [v2('192.0.2.4', 0x20), refused]), /^HTTP\/1\.1 404 /);
    assert.match(await exchange(server, [refused]), /^HTTP\/1\.1 404 /);
    await logged(server, '127.0.0.1');
    assert.equal(server.errors.includes('192.0.2.4'), false);
    for (const malformed of ['PROXY TCP4 nowhere\r\n', Buffer.concat([signature, Buffer.from([0x11, 0x11, 0, 0])])]) {
        assert.equal(await exchange(server, [malformed, refused]), '', 'a malformed header ends the connection');
    }
    assert.equal((await server.get('/health/live', { key: null })).status, 200);
}));

alone('nobody else is believed', () => during([], async (server) => {
    assert.match(await exchange(server, [v1('192.0.2.1'), refused]), /^HTTP\/1\.1 (400|501) /);
    assert.match(await exchange(server, [v2('192.0.2.1'), refused]), /^HTTP\/1\.1 400 /);
    assert.equal(server.errors.includes('192.0.2.1'), false);
}));

alone('connections_per_address counts the address behind the proxy', () => during(
    ['--server.trusted_proxies=127.0.0.1', '--limits.connections_per_address=2'], async (server) => {
        const upgrade = 'GET /v1/ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n';
        const sockets = [];
        const open = (address) => new Promise((done) => {
            const [host, port] = server.address.split(':');
            const socket = net.connect({ host, port }, () => socket.write(Buffer.concat([v1(address), Buffer.from(upgrade)])));
            sockets.push(socket);
            let text = '';
            socket.on('error', () => {});
            socket.on('data', (data) => { text += data.toString('latin1'); });
            setTimeout(() => done(text), 400);
        });
        const [one, two] = [await open('192.0.2.1'), await open('192.0.2.1')];
        assert.equal(/connections_per_address/.test(one + two), false);
        assert.match(await open('192.0.2.1'), /^HTTP\/1\.1 101 .*connections_per_address/s);
        assert.equal(/connections_per_address/.test(await open('192.0.2.9')), false);
        // Of IPv6 a whole /64 is one subscriber's.
        const many = [await open('2001:db8:1:2::1'), await open('2001:db8:1:2:3:4:5:6')];
        assert.equal(/connections_per_address/.test(many.join()), false);
        assert.match(await open('2001:db8:1:2::3'), /connections_per_address/);
        assert.equal(/connections_per_address/.test(await open('2001:db8:1:3::1')), false);
        for (const socket of sockets) socket.destroy();
    }));

await main();

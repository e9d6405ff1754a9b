// The first frames of a connection: who comes, how it is refused, how it comes back.
import { alone, assert, eventually, fresh, gateway, main, pause, quiet, Server, test, WebSocket, jwt, soon, toml, namespace, everything } from './harness.mjs';

gateway(['--presence.linger_ms=600']);

test('connected carries everything a client needs', async (server) => {
    const alice = await server.connect('alice');
    const { hello } = alice;
    assert.equal(hello.id, 1);
    assert.equal(hello.userId, 'alice');
    for (const field of ['connectionId', 'nodeId', 'resume']) {
        assert.equal(typeof hello[field], 'string', field);
        assert.notEqual(hello[field], '', field);
    }
    assert.ok(Math.abs(hello.serverTime - Date.now()) < 5000, 'serverTime is Unix milliseconds');
    assert.equal(hello.pingInterval, 25);
    assert.equal(hello.resumed, false);
    assert.equal(hello.expiresAt, undefined);
    assert.equal(typeof hello.notifications.epoch, 'string');
    assert.equal(hello.notifications.offset, 0);
    assert.equal(hello.notifications.id, '');
    assert.equal(hello.notifications.recovered, true);
    assert.deepEqual(hello.notifications.messages, []);
});

test('the subprotocol is optional, and echoed where it is asked for', async (server) => {
    const with_ = await server.connect('alice');
    assert.equal(with_.ws.protocol, 'starling.v1.json');
    const without = await server.connect('alice', { protocols: '' });
    assert.equal(without.ws.protocol, '');
});

test('two connections have two ids', async (server) => {
    const [one, two] = await Promise.all([server.connect('alice'), server.connect('alice')]);
    assert.notEqual(one.hello.connectionId, two.hello.connectionId);
});

test('a user without a name is a guest', async (server) => {
    const [one, two] = await Promise.all([server.connect({}), server.connect({})]);
    assert.match(one.hello.userId, /^guest-.+/);
    assert.notEqual(one.hello.userId, two.hello.userId);
});

test('a connect without id gets connected without id', async (server) => {
    const client = await server.connect(null);
    client.send({ type: 'connect', user: 'alice' });
    const hello = await client.waitFor('connected');
    assert.equal('id' in hello, false);
});

test('unknown fields are ignored', async (server) => {
    const client = await server.connect({ user: 'alice', colour: 'green', deep: { a: [1] } });
    const pong = await client.request('ping', { more: 1 });
    assert.equal(pong.type, 'pong');
});

test('a ping without id gets no pong with one, and a ping with id gets it', async (server) => {
    const client = await server.connect('alice');
    const pong = await client.request('ping');
    assert.equal(pong.type, 'pong');
});

test('a second connect is a bad request, and the connection goes on', async (server) => {
    const client = await server.connect('alice');
    await client.refused('bad_request', 'connect', { user: 'bob' });
    await client.ping();
});

test('a frame before connect closes with 4000', async (server) => {
    const client = await server.connect(null);
    client.send({ type: 'subscribe', id: 7, channel: 'a' });
    const error = await client.waitFor('error');
    assert.equal(error.code, 'bad_request');
    await client.closesWith(4000);
});

test('text that is not JSON before connect closes with 4000', async (server) => {
    const client = await server.connect(null);
    client.send('hello');
    await client.closesWith(4000);
});

test('a binary frame closes with 1003', async (server) => {
    const client = await server.connect('alice');
    client.ws.send(Buffer.from('{"type":"ping"}'), { binary: true });
    await client.closesWith(1003);
});

test('a user id with a control character or none at all is refused with 4001', async (server) => {
    for (const user of ['', 'a\u0001b', 'x'.repeat(256)]) {
        const client = await server.connect(null);
        client.send({ type: 'connect', id: 1, user });
        const error = await client.waitFor('error');
        assert.ok(['unauthenticated', 'bad_request', 'too_large'].includes(error.code), error.code);
        const { code } = await client.closed;
        assert.ok(code === 4001 || code === 4000, `closed with ${code}`);
    }
});

test('an unknown app is 404 at the upgrade', async (server) => {
    await assert.rejects(server.connect('alice', { path: '/v1/ws?app=nobody' }), /404/);
    const client = await server.connect('alice', { path: '/v1/ws?app=default' });
    assert.equal(client.hello.userId, 'alice');
});

test('resume is accepted, and is only for the user that it was given to', async (server) => {
    const first = await server.connect('alice');
    const { resume } = first.hello;
    await first.cut();
    const again = await server.connect({ user: 'alice', resume });
    assert.equal(again.hello.resumed, true);
    assert.notEqual(again.hello.connectionId, first.hello.connectionId);
    const forged = await server.connect({ user: 'alice', resume: `${resume}x` });
    assert.equal(forged.hello.resumed, false);
    const other = await server.connect({ user: 'bob', resume });
    assert.equal(other.hello.resumed, false);
    assert.equal(other.hello.userId, 'bob');
});

test('resume keeps presence without a leave or a join, and states subscriptions anew', async (server) => {
    const channel = fresh();
    const watcher = await server.connect('watcher');
    const alice = await server.connect('alice');
    await watcher.subscribe(channel, { watch: 'members' });
    await alice.subscribe(channel, { presence: true });
    await watcher.until(() => watcher.presence(channel).length === 1);
    await alice.cut();
    const again = await server.connect({ user: 'alice', resume: alice.hello.resume });
    assert.equal(again.hello.resumed, true);
    await again.refused('not_subscribed', 'unsubscribe', { channel });
    await again.subscribe(channel, { presence: true });
    await pause(900);
    await quiet(watcher);
    assert.deepEqual(watcher.presence(channel), [['join', 'alice']]);
});

test('an echo WebSocket sends everything back in development mode', async (server) => {
    const ws = new WebSocket(`ws://${server.address}/v1/echo`);
    await new Promise((done, fail) => ws.once('open', done).once('error', fail));
    for (const [data, binary] of [['hällo', false], [Buffer.from([0, 1, 255]), true], ['', false]]) {
        const back = new Promise((done) => ws.once('message', (bytes, isBinary) => done({ bytes, isBinary })));
        ws.send(data, { binary });
        const { bytes, isBinary } = await back;
        assert.deepEqual(bytes, Buffer.from(data));
        assert.equal(isBinary, binary);
    }
    ws.close(1000);
    const code = await new Promise((done) => ws.on('close', done));
    assert.equal(code, 1000);
});

test('a message in several WebSocket fragments is one frame', async (server) => {
    const client = await server.connect('alice');
    client.ws.send('{"type":"pi', { fin: false });
    client.ws.send('ng","id":', { fin: false });
    client.ws.send('77}', { fin: true });
    const pong = await client.waitFor((f) => f.id === 77);
    assert.equal(pong.type, 'pong');
});

test('a WebSocket ping is answered with a pong of the same payload', async (server) => {
    const client = await server.connect('alice');
    const back = new Promise((done) => client.ws.once('pong', done));
    client.ws.ping('are you there');
    assert.equal((await back).toString(), 'are you there');
});

gateway(['--limits.connect_timeout_ms=300']);

test('without connect in time the connection closes with 4004', async (server) => {
    const client = await server.connect(null);
    await client.closesWith(4004, 3000);
});

test('a connection that connected in time stays', async (server) => {
    const client = await server.connect('alice');
    await pause(600);
    await client.ping();
});

gateway(['--server.ping_interval_s=1']);

test('the server pings every pingInterval', async (server) => {
    const client = await server.connect('alice');
    assert.equal(client.hello.pingInterval, 1);
    let pings = 0;
    client.ws.on('ping', () => (pings += 1));
    await client.until(() => pings >= 2, 5000);
    await client.ping();
});

test('a connection from which nothing came for pingInterval + 10 s is closed with 4009', async (server) => {
    const client = await server.connect('alice');
    client.ws._autoPong = false;
    client.ws._receiver.removeAllListeners('ping');
    await client.closesWith(4009, 14000);
});

gateway([], { config: toml(namespace('', [everything])) });

test('outside development mode an unsigned user is refused with 4001', async (server) => {
    for (const hello of [{ user: 'alice' }, {}]) {
        const client = await server.connect(null);
        client.send({ type: 'connect', id: 1, ...hello });
        const error = await client.waitFor('error');
        assert.equal(error.code, 'unauthenticated');
        await client.closesWith(4001);
    }
});

test('a token in the upgrade request connects by itself', async (server) => {
    const token = jwt({ sub: 'alice', exp: soon(60) });
    for (const options of [{ path: `/v1/ws?token=${token}` }, { headers: { authorization: `Bearer ${token}` } }]) {
        const client = await server.connect(null, options);
        const hello = await client.waitFor('connected');
        assert.equal(hello.userId, 'alice');
        assert.equal('id' in hello, false);
        assert.ok(hello.expiresAt > Date.now());
    }
});

test('a refused token in the upgrade request is told by error and 4001, not by a failed upgrade', async (server) => {
    const client = await server.connect(null, { path: '/v1/ws?token=rubbish' });
    const error = await client.waitFor('error');
    assert.equal(error.code, 'unauthenticated');
    await client.closesWith(4001);
});

test('a foreign Origin is 403 at the upgrade, the own host is not', async (server) => {
    const token = jwt({ sub: 'alice' });
    await assert.rejects(server.connect({ token }, { headers: { origin: 'https://evil.example' } }), /403/);
    const client = await server.connect({ token }, { headers: { origin: `http://${server.address}` } });
    assert.equal(client.hello.userId, 'alice');
});

test('the echo and the demo are for development mode only', async (server) => {
    const upgrade = { path: '/v1/echo', protocols: '' };
    await assert.rejects(server.connect(null, upgrade), /Unexpected server response: 40[14]/);
    assert.equal((await server.get('/v1/echo')).status, 404);
    assert.equal((await server.get('/demo/', { key: null })).status, 404);
});

alone('an allowed Origin is let in', async () => {
    const server = await Server.start([], {
        config: toml(namespace('', [everything]), '[server]\nallowed_origins = ["https://app.example"]\n'),
    });
    try {
        const client = await server.connect({ token: jwt({ sub: 'a' }) }, { headers: { origin: 'https://app.example' } });
        assert.equal(client.hello.userId, 'a');
        await assert.rejects(
            server.connect({ token: jwt({ sub: 'a' }) }, { headers: { origin: 'https://other.example' } }),
            /403/,
        );
    } finally {
        await server.stop();
    }
});

await main();

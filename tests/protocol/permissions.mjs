// Who may do what: tokens, patterns, channel tokens, refresh, expiry, and a backend that is asked.
import { createServer } from 'node:http';
import { alone, assert, eventually, everything, fresh, gateway, jwt, main, namespace, pause, quiet, Server, soon, test, toml } from './harness.mjs';

const spaces = [
    namespace('', ['allow = ["subscribe"]', 'history = { size = 100, ttl_s = 600 }']),
    namespace('open', [everything, 'history = { size = 100, ttl_s = 600 }']),
    namespace('shut', ['allow = []', 'history = { size = 100, ttl_s = 600 }']),
].join('');
gateway(['--presence.linger_ms=300'], { config: toml(spaces, '[auth]\nrefresh_grace_ms = 400\n') });

const login = (server, claims) => server.connect({ token: jwt(claims) });

// An expired token is both refused (4001) and expired (4002: come back with a new one).
async function refusedToken(server, token, code = 'unauthenticated', closes = [4001]) {
    const client = await server.connect(null);
    client.send({ type: 'connect', id: 1, token });
    const error = await client.waitFor('error');
    assert.equal(error.code, code, JSON.stringify(error));
    const end = await client.closed;
    assert.ok(closes.includes(end.code), `closed with ${end.code}`);
}

test('a token names the user, and exp is expiresAt', async (server) => {
    const exp = soon(60);
    const alice = await login(server, { sub: 'alice', exp });
    assert.equal(alice.hello.userId, 'alice');
    assert.equal(alice.hello.expiresAt, exp * 1000);
    const forever = await login(server, { sub: 'alice' });
    assert.equal('expiresAt' in forever.hello, false);
});

test('tokens that are wrong in any way are refused', async (server) => {
    const good = jwt({ sub: 'alice' });
    const [head, body, sign] = good.split('.');
    const none = `${Buffer.from('{"alg":"none"}').toString('base64url')}.${body}.`;
    for (const token of [
        'rubbish', `${head}.${body}.`, `${head}.${body}.${sign.slice(0, -4)}AAAA`, none,
        jwt({ sub: 'alice' }, { key: 'another secret of thirty-two bytes or more' }),
        jwt({ sub: 'alice' }, { header: { alg: 'HS512' } }),
        jwt({}), jwt({ sub: '' }), jwt({ sub: 5 }), jwt({ sub: 'x'.repeat(256) }),
        jwt({ sub: 'alice', nbf: soon(30) }), jwt({ sub: 'alice', iat: soon(30) }),
        jwt({ sub: 'alice', info: 'x'.repeat(4097) }),
        jwt({ sub: 'alice', channel: 'a', can: ['subscribe'] }),
    ]) await refusedToken(server, token);
    await refusedToken(server, jwt({ sub: 'alice', exp: soon(-2) }), 'token_expired', [4001, 4002]);
});

test('nbf and iat have a leeway of 5 s', async (server) => {
    const alice = await login(server, { sub: 'alice', nbf: soon(2), iat: soon(2) });
    assert.equal(alice.hello.userId, 'alice');
});

test('the effective right is the union of allow and can', async (server) => {
    const alice = await login(server, { sub: 'alice', can: { 'doc:*': ['publish'], 'shut:1': ['subscribe', 'history'] } });
    await alice.subscribe('doc:1');
    await alice.ok('publish', { channel: 'doc:1', data: 1 });
    await alice.refused('forbidden', 'publish', { channel: 'other', data: 1 });
    await alice.refused('forbidden', 'typing', { channel: 'doc:1' });
    await alice.refused('forbidden', 'history.get', { channel: 'doc:1' });
    await alice.refused('forbidden', 'presence.get', { channel: 'doc:1' });
    await alice.subscribe('shut:1');
    await alice.ok('history.get', { channel: 'shut:1' });
    const error = await alice.refused('forbidden', 'subscribe', { channel: 'shut:2' });
    assert.equal(error.channel, 'shut:2');
});

test('a star matches any rest at the end, and is a letter elsewhere', async (server) => {
    const alice = await login(server, { sub: 'alice', can: { 'shut:a*': ['subscribe'], 'shut:*b': ['subscribe'] } });
    for (const channel of ['shut:a', 'shut:abc', 'shut:a:b:c', 'shut:*b']) await alice.subscribe(channel);
    for (const channel of ['shut:b', 'shut:xb', 'shut:xa']) await alice.refused('forbidden', 'subscribe', { channel });
    const all = await login(server, { sub: 'bob', can: { '*': ['subscribe'] } });
    await all.subscribe('shut:anything');
});

test('without the right presence nothing is shown, and asking is forbidden as a whole', async (server) => {
    const channel = fresh();
    const alice = await login(server, { sub: 'alice' });
    await alice.refused('forbidden', 'subscribe', { channel, presence: true });
    await alice.refused('forbidden', 'subscribe', { channel, watch: 'members' });
    await alice.refused('forbidden', 'subscribe', { channel, watch: 'count' });
    const reply = await alice.subscribe(channel);
    assert.equal('presence' in reply, false);
    const boss = await login(server, { sub: 'boss', can: { '*': ['presence'] } });
    await boss.subscribe(channel, { presence: true });
    await pause(60);
    await quiet(alice);
    assert.equal(alice.frames.filter((f) => f.type.startsWith('presence')).length, 0);
});

test('without the right history there is no position, and recover is forbidden', async (server) => {
    const channel = fresh();
    const alice = await login(server, { sub: 'alice' });
    await alice.refused('forbidden', 'subscribe', { channel, recover: { epoch: 'x', offset: 0, id: '' } });
    const reply = await alice.subscribe(channel);
    assert.equal('position' in reply, false);
});

test('private-, presence- and # channels take only what is granted', async (server) => {
    const alice = await login(server, { sub: 'alice', can: { 'private-mine': ['subscribe'], '#*': ['subscribe'] } });
    await alice.subscribe('private-mine');
    for (const channel of ['private-other', 'presence-x', '#x']) await alice.refused('forbidden', 'subscribe', { channel });
});

test('a channel token grants what it says for its user and its channel', async (server) => {
    const channel = `shut:${fresh()}`;
    const grant = (claims) => jwt({ sub: 'alice', channel, exp: soon(60), can: ['subscribe', 'publish'], ...claims });
    const alice = await login(server, { sub: 'alice' });
    await alice.refused('forbidden', 'subscribe', { channel });
    for (const token of ['rubbish', grant({ sub: 'bob' }), grant({ channel: 'shut:x' }), grant({ exp: soon(-2) })]) {
        const reply = await alice.request('subscribe', { channel, token });
        assert.equal(reply.type, 'error', JSON.stringify(reply));
        assert.ok(['forbidden', 'unauthenticated', 'token_expired'].includes(reply.code), reply.code);
    }
    await alice.subscribe(channel, { token: grant({}) });
    await alice.ok('publish', { channel, data: 1 });
    await alice.refused('forbidden', 'typing', { channel });
});

test('a channel token that expires ends its subscription, without grace', async (server) => {
    const channel = `shut:${fresh()}`;
    const alice = await login(server, { sub: 'alice' });
    await alice.subscribe(channel, { token: jwt({ sub: 'alice', channel, exp: soon(2), can: ['subscribe'] }) });
    const end = await alice.waitFor('unsubscribed', 4000);
    assert.equal(end.code, 'forbidden');
    assert.equal(end.channel, channel);
    await alice.ping();
});

test('an expired token closes with 4002 after the grace', async (server) => {
    const exp = soon(2);
    const alice = await login(server, { sub: 'alice', exp });
    await alice.closesWith(4002, 5000);
    const late = Date.now() - exp * 1000;
    assert.ok(late >= 300 && late < 2000, `closed ${late} ms after exp`);
});

test('refresh prolongs, tells expiresAt, and a refused one changes nothing', async (server) => {
    const alice = await login(server, { sub: 'alice', exp: soon(2) });
    await alice.refused('unauthenticated', 'refresh', { token: 'rubbish' });
    await alice.refused('token_expired', 'refresh', { token: jwt({ sub: 'alice', exp: soon(-2) }) });
    const exp = soon(60);
    const reply = await alice.ok('refresh', { token: jwt({ sub: 'alice', exp }) });
    assert.equal(reply.type, 'refreshed');
    assert.equal(reply.expiresAt, exp * 1000);
    await pause(3000);
    await alice.ping();
});

test('refresh with another sub closes 4001', async (server) => {
    const alice = await login(server, { sub: 'alice', exp: soon(60) });
    alice.send({ type: 'refresh', id: 9, token: jwt({ sub: 'bob', exp: soon(60) }) });
    await alice.closesWith(4001);
});

test('a refresh that takes a right away ends the subscription with forbidden', async (server) => {
    const channel = `shut:${fresh()}`;
    const alice = await login(server, { sub: 'alice', can: { [channel]: ['subscribe'] } });
    await alice.subscribe(channel);
    await alice.ok('refresh', { token: jwt({ sub: 'alice', exp: soon(60) }) });
    const end = await alice.waitFor('unsubscribed');
    assert.equal(end.code, 'forbidden');
});

test('channels in the token are subscribed by the server', async (server) => {
    const [a, b] = [`shut:${fresh()}`, `private-${fresh()}`];
    const alice = await login(server, { sub: 'alice', channels: [a, b] });
    for (const channel of [a, b]) {
        const reply = await alice.waitFor((f) => f.type === 'subscribed' && f.channel === channel);
        assert.equal('id' in reply, false);
    }
    await server.publish(a, { data: 1 });
    await alice.waitFor((f) => f.type === 'message' && f.channel === a);
    const bad = await login(server, { sub: 'bob', channels: ['@no'] });
    const error = await bad.waitFor('error');
    assert.equal(error.channel, '@no');
});

test('info is the default presence data', async (server) => {
    const channel = `open:${fresh()}`;
    const alice = await login(server, { sub: 'alice', info: { name: 'Alice' } });
    const reply = await alice.subscribe(channel, { presence: true });
    assert.deepEqual(reply.presence.users[0].data, { name: 'Alice' });
    const bob = await login(server, { sub: 'bob', info: { name: 'Bob' } });
    const own = await bob.subscribe(channel, { presence: { name: 'Bobby' } });
    assert.deepEqual(own.presence.users.find((u) => u.userId === 'bob').data, { name: 'Bobby' });
});

alone('the backend is asked for what allow and can do not grant', async () => {
    const asked = [];
    const backend = createServer((request, response) => {
        let text = '';
        request.on('data', (piece) => (text += piece));
        request.on('end', () => {
            const question = JSON.parse(text);
            asked.push({ method: request.method, ...question });
            if (question.channel === 'ask:slow') return;
            const allow = question.channel.startsWith('ask:yes');
            response.writeHead(question.channel === 'ask:broken' ? 500 : 200, { 'content-type': 'application/json' });
            response.end(JSON.stringify({ allow, data: { from: 'backend' } }));
        });
    });
    await new Promise((done) => backend.listen(0, '127.0.0.1', done));
    const url = `http://127.0.0.1:${backend.address().port}/authorize`;
    const config = toml(namespace('ask', ['allow = ["typing"]', `authorize_url = "${url}"`]));
    const server = await Server.start([], { config });
    try {
        const alice = await login(server, { sub: 'alice', info: { from: 'info' } });
        await alice.refused('forbidden', 'subscribe', { channel: 'ask:no' });
        assert.equal(asked[0].method, 'POST');
        delete asked[0].method;
        assert.deepEqual(asked[0], { userId: 'alice', connectionId: alice.hello.connectionId, channel: 'ask:no', action: 'subscribe' });
        await alice.refused('forbidden', 'subscribe', { channel: 'ask:broken' });
        const reply = await alice.subscribe('ask:yes', { presence: true });
        assert.deepEqual(reply.presence.users[0].data, { from: 'backend' });
        await alice.ok('publish', { channel: 'ask:yes', data: 1 });
        const actions = asked.filter((q) => q.channel === 'ask:yes').map((q) => q.action);
        for (const action of ['subscribe', 'presence', 'publish']) assert.ok(actions.includes(action), actions.join());
        assert.ok(!actions.includes('typing'));
        const count = asked.length;
        await alice.ok('publish', { channel: 'ask:yes', data: 2 });
        assert.equal(asked.length, count, 'the answer holds as long as the subscription');
        const at = Date.now();
        const slow = await alice.request('subscribe', { channel: 'ask:slow' }, 6000);
        assert.equal(slow.type, 'error');
        assert.ok(Date.now() - at > 2500 && Date.now() - at < 5000, `took ${Date.now() - at} ms`);
    } finally {
        await server.stop();
        backend.closeAllConnections();
        backend.close();
    }
});

await main();
